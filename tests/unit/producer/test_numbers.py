"""Phone numbers as people write them."""

from __future__ import annotations

import random

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.producer import numbers
from sms_pipeline.producer.numbers import Reader, Reject, e164
from tests.unit.producer.rules import where_tails_matter


def read(*typed: str, country: str | None = "US") -> list[int]:
    return Reader(country).read(typed).tolist()


@pytest.mark.parametrize(
    "typed",
    [
        *("2025550100", "202-555-0100", "(202) 555-0100", "+1 202.555.0100", "1 202 555 0100"),
        *(" 202\u00a0555\u20110100\t", "+12025550100", "1-202-5550100", "202/555/0100"),
    ],
)
def test_one_number_in_many_forms(typed: str) -> None:
    assert read(typed) == [12025550100]
    assert e164(read(typed)) == ["+12025550100"]


def test_other_countries() -> None:
    assert read("+44 20 7946 0958", "+49 30 901820") == [442079460958, 4930901820]
    assert read("020 7946 0958", country="gb") == [442079460958]
    assert read("030 901820", "00442079460958", country="DE") == [4930901820, 442079460958]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", Reject.EMPTY),
        (" - ", Reject.EMPTY),
        ("call me", Reject.NO_NUMBER),
        ("1-800-FLOWERS", Reject.NO_NUMBER),
        ("202555010x", Reject.NO_NUMBER),
        ("2025550100 ext 5", Reject.NO_NUMBER),
        ("202\n5550100", Reject.NO_NUMBER),
        ("2025550100" * 5, Reject.LONG),
        ("20255501", Reject.SHORT),
        ("1", Reject.NO_NUMBER),
        ("202555010012", Reject.LONG),
        ("1112223333", Reject.UNUSED),
        ("+9992025550100", Reject.NO_COUNTRY),
    ],
)
def test_what_is_no_number_says_why(typed: str, why: Reject) -> None:
    assert read("2025550101", typed, "2025550102") == [12025550101, why, 12025550102]
    assert why.reason


def test_a_country_is_needed_without_a_plus() -> None:
    assert read("+12025550100", "2025550100", country=None) == [12025550100, Reject.NO_COUNTRY]
    with pytest.raises(ConfigError, match="--country: must be two letters, as US or DE, got 'XX'"):
        Reader("XX")


def test_numbers_with_a_common_start_are_what_they_are_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is remembered of a start holds for each of its numbers, in all countries."""
    monkeypatch.setattr(numbers, "_MOST_KNOWN", 500)
    rng, typed = random.Random(7), list[str]()
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (0, 1, 2):
            example = phonenumbers.example_number_for_type(region, kind)
            if example:
                code = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
                typed += [f"{code[:-4]}{rng.randrange(10_000):04d}" for _ in range(4)]
                typed.append(code[:-1])
    rng.shuffle(typed)
    reader = Reader(None)
    assert reader.read(typed).tolist() == [reader._asked(one) for one in typed]


_TYPES = range(11)


@st.composite
def with_a_common_start(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A country, and texts that differ in their last four digits only: close to its numbers."""
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    kinds = (phonenumbers.example_number_for_type(region, kind) for kind in _TYPES)
    number = draw(st.sampled_from([one for one in kinds if one]))
    national = phonenumbers.national_significant_number(number)
    digits = st.text("0123456789", min_size=1, max_size=6)
    kept = draw(st.integers(0, len(national)))
    start = (national[:kept] + draw(digits))[: draw(st.integers(1, len(national)))]
    before = draw(st.sampled_from(["+{}", "00{}", "{}", "+{}0", "0", ""]))
    tails = st.lists(st.text("0123456789", min_size=4, max_size=4), min_size=2, max_size=6)
    common = before.format(number.country_code) + start
    return region, [common + tail for tail in draw(tails)]


@settings(deadline=None)
@given(with_a_common_start())
# Ten digits in eleven characters.
@example(("US", ["+8677815678", "+8677810000"]))
@example(("US", ["0118677815678", "0118677810000"]))
# With its country's code in front or without, as the rules have it.
@example(("AL", ["355901123", "355900123"]))
# Of eleven and twelve digits, but the rules want to know the last four.
@example(("GR", ["+305005000000", "+305005009999"]))
@example(("GR", ["5005009999", "5005000000"]))
@example(("GB", ["+44120460000", "+44120462000", "+44120469999"]))
def test_a_number_is_the_same_whatever_was_read_before(drawn: tuple[str, list[str]]) -> None:
    region, typed = drawn
    alone = [read(one, country=region) for one in typed]
    assert read(*typed, country=region) == [number for (number,) in alone]
    assert read(*reversed(typed), country=region) == [number for (number,) in reversed(alone)]


def test_all_starts_are_known_after_which_the_last_digits_matter() -> None:
    """If a new release of phonenumbers has others, these belong into `_EXCEPTIONS`."""
    found = where_tails_matter(numbers._TAIL, least=numbers._LONG)
    assert {start[: -numbers._APART] for start in found} == numbers._TAIL_MATTERS
