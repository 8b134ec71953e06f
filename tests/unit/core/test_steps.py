"""Whoever drives a protocol decides what its effects are; the protocol decides what comes next."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from sms_pipeline.core.steps import drive

#: A protocol that asks for words and is told numbers.
Steps = Generator[str, int, str]


def nothing_asked() -> Steps:
    return "at once"
    yield


def added(*words: str) -> Steps:
    numbers = []
    for word in words:
        numbers.append((yield word))
    return f"{sum(numbers)}"


def test_each_effect_is_performed_once_and_in_order_and_the_result_returned() -> None:
    asked: list[str] = []

    def perform(effect: str) -> int:
        asked.append(effect)
        return len(effect)

    assert drive(added("one", "three", "no"), perform) == "10"
    assert asked == ["one", "three", "no"]


def test_protocol_that_asks_for_nothing_has_its_result_at_once() -> None:
    assert drive(nothing_asked(), lambda _: pytest.fail("nothing was asked")) == "at once"


@pytest.mark.parametrize("error", [ConnectionError("away"), SystemExit(1), StopIteration(5)])
def test_what_perform_raises_is_raised_where_the_effect_was_asked_for(error: BaseException) -> None:
    # Given a protocol that survives what goes wrong with one of its effects, and asks on
    def patient() -> Steps:
        first = yield "first"
        try:
            yield "broken"
        except BaseException as caught:
            assert caught is error
            return f"{first} {(yield 'instead')} {(yield 'last')}"
        return "not raised"

    def perform(effect: str) -> int:
        if effect == "broken":
            raise error
        return len(effect)

    # Then it learns of it there, and what it asks for instead is performed like any other
    assert drive(patient(), perform) == "5 7 4"


def test_error_that_the_protocol_does_not_expect_comes_out_and_ends_it() -> None:
    ended: list[str] = []

    def steps() -> Steps:
        try:
            yield "broken"
        finally:
            ended.append("cleaned up")
        return "not reached"

    def perform(_: str) -> int:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError, match=r"^away$"):
        drive(steps(), perform)
    assert ended == ["cleaned up"]


def test_error_that_answers_an_error_is_the_one_that_comes_out() -> None:
    def steps() -> Steps:
        try:
            yield "broken"
        except ConnectionError as error:
            raise ValueError("given up") from error
        return "not reached"

    def perform(_: str) -> int:
        raise ConnectionError("away")

    with pytest.raises(ValueError, match=r"^given up$") as caught:
        drive(steps(), perform)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_error_of_the_protocol_itself_is_not_told_to_it_again() -> None:
    def steps() -> Steps:
        yield "one"
        raise ValueError("broken protocol")

    asked: list[str] = []
    with pytest.raises(ValueError, match=r"^broken protocol$"):
        drive(steps(), lambda effect: asked.append(effect) or 0)
    assert asked == ["one"]
