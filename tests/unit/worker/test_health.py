"""When a worker is alive, and when it is ready."""

from __future__ import annotations

import json

import pytest

from sms_pipeline.worker.health import Vitals, examine
from sms_pipeline.worker.intake import AWAY_SECONDS
from sms_pipeline.worker.signs import LONGEST_TURN, Part, SignsOfLife

NOW = 1_000.0
WELL = Vitals(
    worker="box-1-abcdef",
    ledger_silence=0.5,
    commit_age=12.34,
    is_consuming=True,
    is_stopping=False,
)


def signs_of(age: float = 0.5, **ages: float) -> SignsOfLife:
    """All parts came round `age` seconds ago, but for those that are named."""
    signs = SignsOfLife()
    for part in Part:
        signs.mark(part, NOW - ages.get(part.name, age))
    return signs


def test_worker_whose_parts_come_round_is_alive_and_ready() -> None:
    health = examine("box", signs_of(), NOW, WELL)
    assert (health.live, health.ready, health.reasons) == (True, True, ())
    assert health.told == {
        "live": True,
        "ready": True,
        "reasons": [],
        "host": "box",
        "worker": "box-1-abcdef",
        "main_loop_seconds": 0.5,
        "sender_driver_seconds": 0.5,
        "ledger_writer_seconds": 0.5,
        "last_commit_seconds": 12.3,
        "ledger_seconds": 0.5,
        "consuming": True,
    }
    json.dumps(health.told, allow_nan=False)


@pytest.mark.parametrize("part", Part)
def test_worker_of_which_a_part_is_silent_is_neither(part: Part) -> None:
    signs = signs_of(**{part.name: LONGEST_TURN[part] + 1})
    health = examine("box", signs, NOW, WELL)
    assert (health.live, health.ready) == (False, False)
    assert health.reasons == (f"the {part} has not come round for {LONGEST_TURN[part] + 1:.0f} s",)
    assert health.told["reasons"] == list(health.reasons)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ledger_silence": AWAY_SECONDS + 1}, "the ledger has not answered for 6 s"),
        (
            {"is_consuming": False},
            "the broker is not connected, or delivers nothing to this worker",
        ),
        ({"is_stopping": True}, "the worker is stopping"),
    ],
)
def test_worker_that_takes_no_batches_is_alive_but_not_ready(
    changed: dict[str, float], reason: str
) -> None:
    # To end it would not bring back what it waits for.
    health = examine("box", signs_of(), NOW, WELL._replace(**changed))  # type: ignore[arg-type]
    assert (health.live, health.ready, health.reasons) == (True, False, (reason,))


def test_ledger_may_take_its_time_for_a_while() -> None:
    assert examine("box", signs_of(), NOW, WELL._replace(ledger_silence=AWAY_SECONDS)).ready


def test_worker_that_has_not_committed_anything_is_ready() -> None:
    health = examine("box", signs_of(), NOW, WELL._replace(commit_age=None))
    assert health.ready
    assert health.told["last_commit_seconds"] is None


def test_worker_that_starts_is_alive_but_not_ready() -> None:
    health = examine("box", SignsOfLife(), NOW, None)
    assert (health.live, health.ready, health.reasons) == (True, False, ("the worker is starting",))
    assert (health.told["worker"], health.told["main_loop_seconds"]) == (None, None)
    assert health.told["consuming"] is False


def test_all_that_is_wrong_is_told() -> None:
    vitals = WELL._replace(is_consuming=False, ledger_silence=60.0)
    health = examine("box", signs_of(1_000.0), NOW, vitals)
    assert len(health.reasons) == len(Part) + 2
