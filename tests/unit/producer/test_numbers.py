"""Phone numbers as people write them."""

from __future__ import annotations

import random

import phonenumbers
import pytest

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.producer import numbers
from sms_pipeline.producer.numbers import Reader, Reject, e164


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
