"""Checks are made in order, and none waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from sms_pipeline.cli.doctor.check import Check, State, fault, ok
from sms_pipeline.cli.doctor.examination import NothingMoreError, Step, examine

PATIENCE_SECONDS = 30.0


def step(name: str, *checks: Check, vital: bool = False) -> Step:
    """One that finds these."""
    return Step(name, lambda: checks, PATIENCE_SECONDS, vital)


def failing(error: Exception) -> Step:
    """One that raises."""

    def run() -> list[Check]:
        raise error

    return Step("failing", run, PATIENCE_SECONDS)


def test_checks_come_in_the_order_of_subjects_and_steps() -> None:
    first = [step("a", ok("a", "")), step("b", ok("b", ""), ok("c", ""))]
    second = [step("d", ok("d", ""))]
    assert [check.name for check in examine([first, second])] == ["a", "b", "c", "d"]


def test_subjects_are_looked_at_at_the_same_time() -> None:
    met = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def meet() -> list[Check]:
        met.wait()
        return [ok("met", "")]

    subjects = [[Step("one", meet, PATIENCE_SECONDS)], [Step("two", meet, PATIENCE_SECONDS)]]
    assert [check.state for check in examine(subjects)] == [State.OK, State.OK]


def test_how_long_a_step_may_take_is_asked_when_those_before_it_are_done() -> None:
    asked: list[float] = []

    def measure() -> list[Check]:
        asked.append(PATIENCE_SECONDS)
        return [ok("a", "")]

    steps = [
        Step("measured", measure, PATIENCE_SECONDS),
        Step("late", lambda: [ok("b", "")], lambda: asked[0]),
    ]
    assert [check.name for check in examine([steps])] == ["a", "b"]


def test_after_a_vital_fault_the_rest_of_a_subject_is_left_out() -> None:
    steps = [step("a", fault("a", "", ""), vital=True), step("b", ok("b", ""))]
    assert [check.name for check in examine([steps, [step("c", ok("c", ""))]])] == ["a", "c"]


def test_after_another_fault_it_goes_on() -> None:
    steps = [step("a", fault("a", "", "")), step("b", ok("b", ""))]
    assert [check.name for check in examine([steps])] == ["a", "b"]


def test_what_is_told_elsewhere_ends_a_subject_without_a_word() -> None:
    steps = [step("a", ok("a", "")), failing(NothingMoreError()), step("b", ok("b", ""))]
    assert [check.name for check in examine([steps])] == ["a"]


def test_an_error_of_a_step_is_a_fault_on_one_line() -> None:
    (check,) = examine([[failing(ValueError("two\n  lines"))]])
    assert (check.name, check.state) == ("failing", State.FAULT)
    assert check.finding == "the check failed: two lines"


def test_an_error_without_words_is_named() -> None:
    (check,) = examine([[failing(ValueError())]])
    assert "ValueError" in check.finding


def test_a_step_that_hangs_is_a_fault_and_ends_its_subject_only() -> None:
    never = threading.Event()

    def hang() -> Iterator[Check]:
        never.wait(PATIENCE_SECONDS)
        yield ok("late", "")

    hanging = [Step("hangs", hang, 0.05), step("b", ok("b", ""))]
    checks = list(examine([hanging, [step("c", ok("c", ""))]]))
    never.set()
    assert [(check.name, check.state) for check in checks] == [
        ("hangs", State.FAULT),
        ("c", State.OK),
    ]
    assert "no answer within 0.05 s" in checks[0].finding
