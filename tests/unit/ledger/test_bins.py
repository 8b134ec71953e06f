"""A run's course in bins: how wide they are, and what can be read from them."""

from __future__ import annotations

import pytest

from sms_pipeline.core.checks import messages_for
from sms_pipeline.ledger.timeline import (
    Bin,
    Timeline,
    bin_number,
    bin_of_crossing,
    moment_of_crossing,
    nice_width,
)


@pytest.mark.parametrize(
    ("seconds", "bins", "width"),
    [
        (0, 10, 0.1),
        (0.99, 10, 0.1),
        (1.0, 10, 0.2),
        (60, 240, 0.5),
        (3_600, 240, 30),
        (86_400, 240, 600),
        (10 * 86_400, 4, 3 * 86_400),
    ],
)
def test_bins_are_as_narrow_as_their_number_allows(seconds: float, bins: int, width: float) -> None:
    assert nice_width(seconds, bins) == width
    assert seconds < width * bins


@pytest.mark.parametrize(
    ("share", "total", "messages"),
    [(0.5, 100, 50), (0.5, 101, 51), (0.07, 100, 7), (0.9, 10, 9), (0.99, 10, 10), (0.0, 5, 1)],
)
def test_so_many_messages_are_a_share(share: float, total: int, messages: int) -> None:
    assert messages_for(share, total) == messages


@pytest.mark.parametrize(
    ("wanted", "crossing"), [(1, (0, 0)), (5, (0, 0)), (6, (2, 5)), (9, (2, 5)), (10, None)]
)
def test_the_bin_in_which_a_message_was_delivered(
    wanted: int, crossing: tuple[int, int] | None
) -> None:
    assert bin_of_crossing([Bin(delivered=5), Bin(), Bin(delivered=4)], wanted) == crossing


def test_the_moment_in_which_a_message_was_delivered() -> None:
    deliveries = [(1.0, 3), (2.0, 3), (3.0, 3)]
    moments = [moment_of_crossing(deliveries, 10, wanted) for wanted in (13, 14, 19, 20)]
    assert moments == [1.0, 2.0, 3.0, None]


@pytest.mark.parametrize(
    ("seconds", "width", "number"), [(0, 2, 0), (1.9, 2, 0), (2, 2, 1), (25, 10, 2), (-0.5, 2, -1)]
)
def test_the_bin_in_which_a_moment_lies(seconds: float, width: float, number: int) -> None:
    assert bin_number(seconds, width) == number


def test_shares_and_rates_of_a_timeline() -> None:
    bins = (Bin(delivered=10, failed=2), Bin(), Bin(delivered=30))
    course = Timeline(run=1, total=80, width=5, bins=bins)
    assert course.starts == [0, 5, 10]
    assert course.reached == [0.125, 0.125, 0.5]
    assert course.rates("delivered") == [2, 0, 6]
    assert course.rates("failed") == [0.4, 0, 0]
