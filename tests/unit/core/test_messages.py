"""Messages follow from (seed, index)."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.messages import (
    ALPHABET,
    SEPARATOR,
    Alphabet,
    PhoneFormat,
    Phones,
    joined,
    make_columns,
    split,
)
from sms_pipeline.core.parts import GSM_BASIC, GSM_EXTENSION
from sms_pipeline.core.simulation import MAX_MESSAGES

SEEDS = st.integers(0, 2**63 - 1)
LENGTHS = st.one_of(st.integers(1, 40), st.sampled_from([100, 255, 256, 1_530]))
FORMATS: tuple[PhoneFormat, ...] = ("xxx-xxx-xxxx", "e164", "any")
PHONE = {
    "xxx-xxx-xxxx": re.compile(r"[2-9]\d\d-[2-9]\d\d-\d{4}"),
    "e164": re.compile(r"\+1[2-9]\d\d[2-9]\d\d\d{4}"),
    "any": re.compile(r"\d{3}-\d{3}-\d{4}"),
}


def entries(column: str) -> list[str]:
    return column.split(SEPARATOR)


def make_entries(
    seed: int, first: int, count: int, length: int = 100, phone_format: PhoneFormat = FORMATS[0]
) -> list[tuple[str, str]]:
    to, text = make_columns(seed, first, count, length, phone_format)
    return list(zip(entries(to), entries(text), strict=True))


@settings(max_examples=100, deadline=None)
@given(
    SEEDS,
    st.one_of(st.integers(0, 1_000), st.integers(0, 4_000_000_000)),
    st.data(),
    LENGTHS,
    st.sampled_from(FORMATS),
)
def test_any_range_equals_the_same_slice_of_the_whole(
    seed: int, first: int, data: st.DataObject, length: int, phone_format: PhoneFormat
) -> None:
    whole = make_entries(seed, first, 60, length, phone_format)
    start = data.draw(st.integers(0, 59))
    count = data.draw(st.integers(1, 60 - start))
    part = make_entries(seed, first + start, count, length, phone_format)
    assert part == whole[start : start + count]


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 300), LENGTHS, st.sampled_from(FORMATS))
def test_every_message_has_a_valid_number_and_text(
    seed: int, count: int, length: int, phone_format: PhoneFormat
) -> None:
    messages = make_entries(seed, 0, count, length, phone_format)
    assert len(messages) == count
    for to, text in messages:
        assert PHONE[phone_format].fullmatch(to)
        assert 1 <= len(text) <= length
        assert set(text) <= set(ALPHABET)


def test_alphabet_is_64_characters_without_the_separator() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 64
    assert SEPARATOR not in ALPHABET


@pytest.mark.parametrize(
    ("random", "number"),
    [
        # The line counts up first, then the exchange, then the area.
        (0, "200-200-0000"),
        (1, "200-200-0001"),
        (9_999, "200-200-9999"),
        (10_000, "200-201-0000"),
        (799 * 10_000, "200-999-0000"),
        (800 * 10_000, "201-200-0000"),
        (800 * 800 * 10_000 - 1, "999-999-9999"),
        # What is above the last number begins anew; the bits that the length is drawn from have
        # no part in it.
        (800 * 800 * 10_000 + 12, "200-200-0012"),
        (2**40, "200-200-0000"),
        (2**64 - 2**40 + 34, "200-200-0034"),
    ],
)
def test_every_number_there_is_can_be_drawn(random: int, number: str) -> None:
    phones = Phones("{:03d}-", "{:03d}-", "{:04d}")
    assert phones.write(np.array([random], np.uint64)) == number
    # And as one of several
    several = phones.write(np.array([5, random, 6], np.uint64))
    assert entries(several) == ["200-200-0005", number, "200-200-0006"]


@pytest.mark.parametrize(
    ("random", "number"),
    [
        (0, "000-000-0000"),
        (1_000 * 10_000 - 1, "000-999-9999"),
        (1_000 * 10_000, "001-000-0000"),
        (10**10 - 1, "999-999-9999"),
        (10**10 + 12, "000-000-0012"),
    ],
)
def test_every_digit_is_drawn_in_each_place_where_any_will_do(random: int, number: str) -> None:
    phones = Phones("{:03d}-", "{:03d}-", "{:04d}", range(1_000))
    assert phones.write(np.array([random], np.uint64)) == number


def test_any_number_has_each_digit_in_each_place() -> None:
    digits = np.array([[*to.replace("-", "")] for to, _ in make_entries(3, 0, 2_000, 1, "any")])
    assert [len(set(place)) for place in digits.T] == [10] * 10


def test_formats_of_one_place_show_the_same_numbers() -> None:
    dashed, plain = (make_columns(1, 0, 50, 10, phone_format).to for phone_format in FORMATS[:2])
    assert [f"+1{to.replace('-', '')}" for to in entries(dashed)] == entries(plain)


def test_seeds_give_different_messages() -> None:
    assert not set(make_entries(1, 0, 500)) & set(make_entries(2, 0, 500))


def test_messages_of_a_seed_are_the_same_in_every_version() -> None:
    # A run that is resumed after an update must go on with the messages that it began with
    assert make_entries(7, 3, 2, length=20) == [("363-504-0836", "KsXDW"), ("550-610-7408", "W")]
    last = make_entries(7, MAX_MESSAGES - 1, 1, length=30, phone_format="e164")
    assert last == [("+19214933703", "ata")]


def test_lengths_are_uniform_from_one_to_the_longest() -> None:
    lengths = Counter(len(text) for _, text in make_entries(3, 0, 50_000, length=10))
    assert sorted(lengths) == list(range(1, 11))
    # Five standard deviations of a binomial count
    assert all(abs(count - 5_000) < 5 * (5_000 * 0.9) ** 0.5 for count in lengths.values())


def test_characters_are_uniform_over_the_alphabet() -> None:
    characters = Counter("".join(text for _, text in make_entries(3, 0, 10_000)))
    expected = characters.total() / len(ALPHABET)
    assert set(characters) == set(ALPHABET)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in characters.values())


def test_neighbouring_texts_share_nothing() -> None:
    texts = [text[:8] for _, text in make_entries(3, 0, 20_000) if len(text) >= 8]
    assert len(set(texts)) == len(texts)


def test_numbers_hardly_ever_repeat() -> None:
    # Among 6.4 billion numbers, 50,000 drawn at random share 0.2 pairs on average
    numbers = [to for to, _ in make_entries(4, 0, 50_000)]
    assert len(numbers) - len(set(numbers)) <= 5


@pytest.mark.parametrize("alphabet", ["gsm-7", "ucs-2", "mixed"])
def test_texts_of_other_alphabets(alphabet: Alphabet) -> None:
    """As long as plain ones, and the same ones wherever a range begins."""
    plain = split(make_columns(7, 0, 300, 200, "e164").text)
    other = split(make_columns(7, 0, 300, 200, "e164", alphabet).text)
    assert [len(text) for text in other] == [len(text) for text in plain]
    assert split(make_columns(7, 100, 50, 200, "e164", alphabet).text) == other[100:150]
    assert (
        make_columns(7, 0, 300, 200, "e164", alphabet).to == make_columns(7, 0, 300, 200, "e164").to
    )


def test_each_alphabet_has_its_characters() -> None:
    gsm, foreign, mixed = (
        split(make_columns(7, 0, 2_000, 100, "e164", alphabet).text)
        for alphabet in ("gsm-7", "ucs-2", "mixed")
    )
    assert len(set("".join(gsm))) == len(set("".join(foreign))) == len(ALPHABET)
    assert set("".join(gsm)) <= set(GSM_BASIC + GSM_EXTENSION)
    cyrillic = [text for text in mixed if set(text) & set("".join(foreign)) - set(GSM_BASIC)]
    assert 900 < len(cyrillic) < 1_100
    assert all((text in foreign) != (text in gsm) for text in mixed if len(text) > 9)


def test_line_breaks_inside_an_entry_stay_inside() -> None:
    entries = ["a\nb", "c\r\nd\n", "", "\r", "e"]
    assert split(joined(entries)) == ["a\nb", "c\nd\n", "", "\n", "e"]
    assert joined(["a"]) == "a"
    assert joined(["a", "b"]) == "a\nb"
