"""How many messages a second may be dispatched."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_pipeline.core.dispatch_rate import BURST_SECONDS, Allowance, most_at_once, parse_rate
from sms_pipeline.core.simulation import Simulation, parse_simulation


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("500/s", 500.0),
        ("10k/s", 10_000.0),
        ("2.5k/s", 2_500.0),
        ("1M/h", 1_000_000 / 3_600),
        ("600/min", 10.0),
        ("10k / s", 10_000.0),
    ],
)
def test_rates_as_people_write_them(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "500", "k/s", "10K/s", "-5/s", "1e3/s", "5/day", "5/m", "/s", "٣/s"]
)
def test_what_is_no_rate_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="as in 500/s, 10k/s or 600/min"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["0/s", "0.5/h", "1001M/s"])
def test_a_rate_is_not_too_low_or_too_high(text: str) -> None:
    with pytest.raises(ValueError, match="must be from 1/h to 1000M/s"):
        parse_rate(text)


def test_a_run_keeps_its_rate() -> None:
    simulation = Simulation(rate="600/min")  # type: ignore[arg-type]
    assert parse_simulation(simulation.model_dump_json()).rate == 10.0


def test_no_batch_is_more_than_may_be_dispatched_in_a_second() -> None:
    (fast, *_) = Simulation().senders
    for batch_size in ("auto", 500):
        paced = Simulation(rate=10.0, batch_size=batch_size, num_messages=100_000)  # type: ignore[arg-type]
        assert paced.batch_size_for(fast) <= 10
    slow = Simulation(rate=0.1, batch_size=500)
    assert slow.batch_size_for(fast) == 1
    assert most_at_once(None) == math.inf


#: Seconds that pass before somebody looks, and messages that are wanted then.
LOOKS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=60)


@given(st.floats(0.5, 50), LOOKS)
def test_in_no_time_more_passes_than_its_rate_allows(
    rate: float, looks: list[tuple[float, int]]
) -> None:
    allowance, now = Allowance(rate, 0.0), 0.0
    passed: list[tuple[float, int]] = []
    for seconds, messages in looks:
        now += seconds
        if not allowance.closed_for(now):
            allowance.take(messages, now)
            passed.append((now, messages))
    for first in range(len(passed)):
        sofar = 0
        for at, messages in passed[first:]:
            # The last batch may begin while there is any room
            assert sofar <= rate * (at - passed[first][0] + BURST_SECONDS) + 1e-6
            sofar += messages


def test_what_was_held_up_for_a_while_is_made_up_for_no_further_than_a_second() -> None:
    allowance = Allowance(10.0, 0.0)
    allowance.take(10, 0.0)
    assert allowance.closed_for(0.0) == 1.0
    # A minute later
    for _ in range(2):
        assert not allowance.closed_for(60.0)
        allowance.take(10, 60.0)
    assert allowance.closed_for(60.0) == 1.0


def test_without_a_rate_it_is_always_open() -> None:
    allowance = Allowance(None, 0.0)
    allowance.take(1_000_000, 0.0)
    assert not allowance.closed_for(0.0)
