"""Times in a configuration: numbers of seconds, or as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from sms_pipeline.core.simulation import Simulation, parse_simulation
from sms_pipeline.core.times import parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("30s", 30.0),
        ("1.5  m", 90.0),
        (" 2h ", 7_200.0),
        ("0s", 0.0),
    ],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-1s", "1e3s", "2d", "1h 1m", "2H", "²s", "٣s", "1,5s"]
)
def test_what_is_no_time_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="or a time as in 500ms, 30s, 10m or 2h"):
        parse_time(text)


#: A time in each place of a configuration, and where it is found in the one that is made.
WRITTEN = {
    "report_period": "500ms",
    "deadline": "2h",
    "stuck_after": "10m",
    "retry": {"backoff": "2s", "backoff_max": "1m"},
    "failover": {"unattended": "30s"},
    "senders": [
        {
            "name": "fast",
            "mean_time": "50ms",
            "max_time": "5s",
            "validity": "4h",
            "failure_rate": 0,
            "receipts": {"mean_time": "4s", "max_time": "1m"},
        }
    ],
    "events": [{"at": "5s", "for": "1m", "outage": True}],
}
IN_SECONDS = {
    "report_period": 0.5,
    "deadline": 7_200.0,
    "stuck_after": 600.0,
    "retry": {"backoff": 2.0, "backoff_max": 60.0},
    "failover": {"unattended": 30.0},
    "senders": [
        {
            "name": "fast",
            "mean_time": 0.05,
            "max_time": 5.0,
            "validity": 14_400.0,
            "failure_rate": 0,
            "receipts": {"mean_time": 4.0, "max_time": 60.0},
        }
    ],
    "events": [{"at": 5.0, "for": 60.0, "outage": True}],
}


def test_every_time_of_a_configuration_may_be_written_so() -> None:
    written = Simulation.model_validate(WRITTEN)
    assert written == Simulation.model_validate(IN_SECONDS)
    # And a run keeps seconds, which older versions read
    assert parse_simulation(written.model_dump_json()) == written
    assert '"2h"' not in written.model_dump_json()


@pytest.mark.parametrize(("text", "said"), [("0s", "greater than 0"), ("9000h", "less than")])
def test_a_time_has_the_bounds_of_its_seconds(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refusal:
        Simulation(deadline=text)  # type: ignore[arg-type]
    # And what was written is told
    assert refusal.value.errors()[0]["input"] == text


def patterns(schema: Any) -> Iterator[str]:
    """Every pattern of a JSON schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from patterns(part)


def test_editors_take_what_is_read_and_know_its_bounds() -> None:
    schema = Simulation.model_json_schema()
    number, time, nothing = schema["properties"]["deadline"]["anyOf"]
    assert number == {"type": "number", "exclusiveMinimum": 0, "maximum": 31_536_000}
    assert re.fullmatch(time["pattern"], "2h")
    assert nothing == {"type": "null"}
    # And no pattern is one that only Python knows
    assert not [pattern for pattern in patterns(schema) if "(?P" in pattern]
