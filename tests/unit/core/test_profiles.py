"""A profile with measured times."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from sms_pipeline.config.files import override_profile
from sms_pipeline.core.profiles import MAX_QUANTILES, SenderProfile
from sms_pipeline.core.simulation import Simulation, parse_simulation

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
