"""Virtual time, and driving a protocol on it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from sms_pipeline.forecast.agenda import EPOCH, Agenda
from sms_pipeline.forecast.costs import Processor
from sms_pipeline.forecast.shell import Driven


def test_time_jumps_from_one_thing_to_the_next() -> None:
    agenda, seen = Agenda(), list[tuple[str, float]]()

    def note(name: str) -> None:
        seen.append((name, agenda.monotonic()))

    agenda.after(2.0, lambda: note("late"))
    agenda.after(1.0, lambda: note("early"))
    agenda.after(1.0, lambda: agenda.after(0.5, lambda: note("between")))
    agenda.at(-1.0, lambda: note("at once"))
    agenda.run(lambda: False)
    assert seen == [("at once", 0.0), ("early", 1.0), ("between", 1.5), ("late", 2.0)]
    assert agenda.wall() == EPOCH + 2.0


def test_time_stops_when_all_is_done() -> None:
    agenda = Agenda()
    for moment in (1.0, 2.0, 3.0):
        agenda.at(moment, lambda: None)
    agenda.run(lambda: agenda.monotonic() >= 2.0)
    assert agenda.monotonic() == 2.0


def test_threads_of_a_process_take_turns() -> None:
    agenda = Agenda()
    processor = Processor(agenda)
    assert [processor.take(0.5), processor.take(0.25)] == [0.5, 0.75]
    agenda.at(2.0, lambda: None)
    agenda.run(lambda: False)
    assert processor.take(0.5) == 2.5


def protocol() -> Generator[str, Any, str]:
    first = yield "first"
    try:
        second = yield f"second after {first}"
    except OSError as error:
        second = f"error {error}"
    return f"done after {second}"


def test_effects_are_answered_whenever_their_time_comes() -> None:
    agenda, asked, ended = Agenda(), list[tuple[str, float]](), list[str]()

    def perform(effect: str, driven: Driven[str, str]) -> None:
        asked.append((effect, agenda.monotonic()))
        agenda.after(1.0, lambda: driven.answer(f"answer {len(asked)}"))

    Driven(protocol(), perform, ended.append).begin()
    assert asked == [("first", 0.0)]
    agenda.run(lambda: False)
    assert asked == [("first", 0.0), ("second after answer 1", 1.0)]
    assert ended == ["done after answer 2"]


def test_an_effect_can_fail() -> None:
    ended = list[str]()

    def perform(effect: str, driven: Driven[str, str]) -> None:
        if effect == "first":
            driven.answer("one")
        else:
            driven.fail(OSError("cut"))

    Driven(protocol(), perform, ended.append).begin()
    assert ended == ["done after error cut"]


def test_an_error_that_the_protocol_does_not_know_comes_out() -> None:
    def perform(_effect: str, driven: Driven[str, str]) -> None:
        driven.fail(KeyError("x"))

    with pytest.raises(KeyError):
        Driven(protocol(), perform, lambda _: None).begin()
