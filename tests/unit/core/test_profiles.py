"""A profile: with measured times, and with limits of carriers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from sms_pipeline.config.files import override_profile
from sms_pipeline.core.presets import LIMITS, presets
from sms_pipeline.core.profiles import MAX_QUANTILES, MAX_SENDERS, SenderProfile
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.core.simulation import Simulation, parse_simulation
from tests.unit import make

TIMES = [1.0, 2.0, 6.0]
#: Of these times.
MEAN = (1.5 + 4.0) / 2


def measured(**values: Any) -> SenderProfile:
    """A profile with `TIMES`, unless the values have others."""
    return SenderProfile.model_validate(
        {"name": "fast", "count": 10, "failure_rate": 0.1, "times": TIMES, **values}
    )


def test_the_mean_and_the_capacity_are_those_of_the_times() -> None:
    profile = measured()
    assert profile.mean_time == pytest.approx(MEAN)
    assert profile.capacity == pytest.approx(10 / MEAN)


def test_a_mean_beside_them_counts() -> None:
    assert measured(mean_time=0.5).capacity == pytest.approx(20)


def test_an_option_for_the_mean_keeps_the_times() -> None:
    slower = override_profile(measured(), mean_time=5.0)
    assert (slower.mean_time, slower.times) == (5.0, tuple(TIMES))


def test_the_ledger_keeps_them() -> None:
    simulation = Simulation(senders=(measured(),))
    assert parse_simulation(simulation.model_dump_json()) == simulation


@pytest.mark.parametrize(
    ("values", "key", "allowed"),
    [
        ({"times": []}, ("times",), f"2 to {MAX_QUANTILES} times"),
        ({"times": [1.0]}, ("times",), f"2 to {MAX_QUANTILES} times"),
        ({"times": [1.0] * (MAX_QUANTILES + 1)}, ("times",), f"2 to {MAX_QUANTILES} times"),
        ({"times": [2.0, 1.0]}, ("times",), "in order"),
        ({"times": [-1.0, 1.0]}, ("times", 0), "greater than or equal to 0"),
        ({"times": [1.0, 1e5]}, ("times", 1), "86400"),
        ({"times": [0.0, 0.0]}, ("times",), "to one above 0"),
        ({"times": [1.0, math.inf]}, ("times", 1), "finite"),
        ({"times": [1.0, math.nan]}, ("times", 1), "finite"),
        ({"times": [1, 10**400]}, ("times", 1), "number"),
        ({"times": [1.0, "2"]}, ("times", 1), "number"),
        ({"times": ["a", "b", "c"]}, ("times", 0), "number"),
        ({"times": 5}, ("times",), "tuple"),
        ({"times": {"a": 1}}, ("times",), "tuple"),
        ({"max_time": 5.0}, (), "times and max_time can't be used together"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_list_of_times_is_the_first_problem(
    values: dict[str, Any], key: tuple[str | int, ...], allowed: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        measured(**values)
    problem = caught.value.errors()[0]
    assert problem["loc"] == key
    assert allowed in problem["msg"]


def test_no_times_need_a_mean() -> None:
    with pytest.raises(ValidationError, match="mean_time"):
        measured(times=None)


# Limits of carriers


def test_a_preset_says_what_the_profile_does_not() -> None:
    preset = make.profile(preset="us-toll-free")
    assert (preset.parts_per_second, preset.validity, preset.daily_cap) == (3, 36_000, None)
    own = make.profile(preset="us-toll-free", parts_per_second=20.0, daily_cap=7)
    assert (own.parts_per_second, own.validity, own.daily_cap) == (20, 36_000, 7)
    assert make.profile(preset="us-toll-free", parts_per_second=None).parts_per_second is None


def test_a_profile_keeps_the_limits_it_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    written = make.profile(preset="us-toll-free").model_dump(mode="json")
    monkeypatch.setitem(presets()["us-toll-free"], "parts_per_second", 99.0)
    assert SenderProfile.model_validate(written).parts_per_second == 3


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValidationError, match="must be one of us-long-code, us-toll-free"):
        make.profile(preset="us-tollfree")


def test_every_preset_makes_a_profile_and_says_where_it_is_from() -> None:
    for name, preset in presets().items():
        found = make.profile(preset=name)
        assert found.parts_per_second or found.daily_cap
        assert preset["source"].startswith("https://")
        assert preset["read"].year >= 2026
        assert set(preset) - {"what", "source", "read"} <= set(LIMITS)


def test_capacity_is_what_the_limit_allows() -> None:
    limited = make.profile(count=4, parts_per_second=2.5, mean_time=60.0, max_time=90.0)
    assert limited.capacity == 10
    assert (limited.mean_busy, limited.longest_busy) == (0.4, None)
    assert (limited.lanes_each, limited.lanes) == (3, 12)
    free = make.profile(count=4, mean_time=2.0, max_time=9.0)
    assert (free.mean_busy, free.longest_busy, free.lanes) == (2, 9, 4)
    # The ledger's record of a worker comes to the same
    assert WorkerRow.playing(limited, "w1").capacity == 10


def test_messages_on_their_way_to_the_network_are_in_play() -> None:
    # Given a short code that passes 100 a second to a network that takes 20 s
    assert make.profile(parts_per_second=100.0, mean_time=20.0).in_play == 2_000
    assert make.profile(count=3, parts_per_second=1.0, mean_time=0.1).in_play == 3
    assert make.profile(count=7, mean_time=9.0).in_play == 7


def test_more_lanes_than_a_process_can_hold_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than one process can hold"):
        make.profile(count=MAX_SENDERS // 10, parts_per_second=10.5)
