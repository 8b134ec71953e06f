"""When a part of a worker counts as stuck, and what its last line says."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator

import pytest

from sms_pipeline.core.errors import EXIT_FAILURE
from sms_pipeline.testing import ManualClock
from sms_pipeline.worker import watchdog
from sms_pipeline.worker.signs import LONGEST_TURN, Part, SignsOfLife
from sms_pipeline.worker.watchdog import LOOK_SECONDS, Vigil, Watchdog, end_process
from tests.unit.worker.fakes import Exited, aside

LONG = 10_000.0


class Scene:
    """A worker's parts, and a watchdog that looks whenever it is told to."""

    def __init__(self, *excused: Part) -> None:
        self.clock = ManualClock()
        self.signs = SignsOfLife()
        self.excused = set(excused)
        self.asked: list[Part] = []
        self.ended: list[Part] = []
        #: Seconds until what a part waits for says whether it is there.
        self.answers_after = 0.0
        self.watchdog = Watchdog(
            self.signs,
            self.clock,
            {part: self._excuse(part) for part in (Part.LOOP, Part.WRITER)},
            self.ended.append,
        )

    def _excuse(self, part: Part) -> watchdog.Excuse:
        def ask() -> bool:
            self.asked.append(part)
            self.clock.advance(self.answers_after)
            return part in self.excused

        return ask

    def pass_by(self, seconds: float, *alive: Part, each: float = LOOK_SECONDS) -> None:
        """Let the watchdog look every `each` seconds while only some parts come round."""
        for _ in range(round(seconds / each)):
            self.clock.advance(each)
            for part in alive:
                self.signs.mark(part, self.clock.monotonic())
            self.watchdog.look()


def test_parts_that_come_round_are_left_alone() -> None:
    scene = Scene()
    scene.pass_by(LONG, *Part)
    assert (scene.asked, scene.ended) == ([], [])


def test_parts_that_have_not_begun_or_have_ended_are_not_expected() -> None:
    scene = Scene()
    scene.pass_by(LONG)
    scene.pass_by(10, *Part)
    for part in Part:
        scene.signs.end(part)
    scene.pass_by(LONG)
    assert scene.ended == []


@pytest.mark.parametrize("part", list(Part))
def test_a_part_that_hangs_is_noticed_in_time_and_not_before(part: Part) -> None:
    scene = Scene()
    others = set(Part) - {part}
    scene.pass_by(10, *Part)
    scene.pass_by(LONGEST_TURN[part] - LOOK_SECONDS, *others)
    assert scene.ended == []
    scene.pass_by(3 * LOOK_SECONDS, *others)
    assert set(scene.ended) == {part}


def test_a_part_that_comes_round_now_and_then_is_left_alone() -> None:
    scene = Scene()
    for _ in range(100):
        scene.pass_by(LOOK_SECONDS, *Part)
        scene.pass_by(min(LONGEST_TURN.values()) - LOOK_SECONDS)
    assert scene.ended == []


@pytest.mark.parametrize("stopped_for", [60.0, LONG])
def test_a_process_that_was_stopped_is_not_stuck(stopped_for: float) -> None:
    # Given a process that is stopped again and again; the watchdog is the first to run afterwards
    scene = Scene()
    scene.pass_by(10, *Part)
    for _ in range(10):
        scene.clock.advance(stopped_for)
        scene.watchdog.look()
        scene.pass_by(2, *Part)
    assert scene.ended == []


def test_a_machine_too_busy_to_look_is_given_more_time() -> None:
    # Given a watchdog that runs once in 20 s, then silence counts a second for each look
    scene = Scene()
    scene.pass_by(10, *Part)
    looks = min(LONGEST_TURN.values()) / LOOK_SECONDS
    scene.pass_by(20 * (looks - 1), each=20)
    assert scene.ended == []
    scene.pass_by(20 * 3, each=20)
    assert scene.ended


@pytest.mark.parametrize("part", [Part.LOOP, Part.WRITER])
def test_a_part_that_waits_for_others_is_asked_again_later(part: Part) -> None:
    scene = Scene(part)
    scene.pass_by(10, *Part)
    others = set(Part) - {part}
    scene.pass_by(3.5 * LONGEST_TURN[part], *others)
    assert (scene.asked, scene.ended) == ([part] * 3, [])
    # And once they answer, it has its time to come round, and no more
    scene.excused.clear()
    scene.pass_by(LONGEST_TURN[part] + 2 * LOOK_SECONDS, *others)
    assert set(scene.ended) == {part}


def silent_for_too_long(part: Part) -> Scene:
    """A part that is silent until it is asked what it waits for, one look before that."""
    scene = Scene()
    scene.pass_by(10, *Part)
    scene.pass_by(LONGEST_TURN[part], *set(Part) - {part})
    assert scene.asked == []
    return scene


@pytest.mark.parametrize("part", [Part.LOOP, Part.WRITER])
def test_what_a_part_waits_for_may_answer_just_when_it_is_asked(part: Part) -> None:
    # Given a part that has waited for too long, for something that answers again
    scene = silent_for_too_long(part)
    scene.pass_by(LOOK_SECONDS, *set(Part) - {part})
    assert (scene.asked, scene.ended) == ([part], [])
    # When it comes round after that, then it goes on
    scene.pass_by(10, *Part)
    assert scene.ended == []


@pytest.mark.parametrize("part", [Part.LOOP, Part.WRITER])
def test_an_answer_that_is_long_in_coming_is_an_excuse(part: Part) -> None:
    # Given a part that waits for something that answers, but only after a while
    scene = silent_for_too_long(part)
    scene.answers_after = 5.0
    others = set(Part) - {part}
    scene.pass_by(LOOK_SECONDS, *others)
    # Then it has all the time that it had at first
    scene.answers_after = 0.0
    scene.pass_by(LONGEST_TURN[part] - LOOK_SECONDS, *others)
    assert (scene.asked, scene.ended) == ([part], [])


def test_a_part_that_is_excused_is_not_reported_as_silent() -> None:
    # Given a main loop that waits for a broker that hangs
    scene = Scene(Part.LOOP)
    scene.pass_by(10, *Part)
    others = set(Part) - {Part.LOOP}
    scene.pass_by(LONGEST_TURN[Part.LOOP] + 2 * LOOK_SECONDS, *others)
    assert scene.asked == [Part.LOOP]
    # Then who asks after the worker's health is told what the watchdog found
    assert scene.signs.silent(scene.clock.monotonic() + LOOK_SECONDS) == ()


def test_silence_before_the_first_look_does_not_count() -> None:
    signs = SignsOfLife()
    signs.mark(Part.DRIVER, 0.0)
    assert Vigil(signs).look(LONG) == ()


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Set to let the thread of the driver go on."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name=watchdog.THREADS[Part.DRIVER], daemon=True)
    thread.start()
    yield over
    over.set()
    thread.join()


def test_last_line_says_which_part_and_where_it_is(
    exits: list[int], hanging: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Exited):
        end_process(Part.DRIVER)
    (line,) = caplog.messages
    assert re.fullmatch(
        r"the sender driver has not come round for 30 s \(in wait, threading\.py:\d+\); "
        "the worker ends, and its batches go to others",
        line,
    )
    assert caplog.records[0].levelno == logging.CRITICAL
    assert exits == [EXIT_FAILURE]


def test_a_log_that_takes_nothing_does_not_keep_the_process(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(watchdog.log, "critical", lambda *_: over.wait())
    monkeypatch.setattr(watchdog, "_LAST_WORDS_SECONDS", 0.01)
    ending = aside(end_process, Part.LOOP)
    assert isinstance(ending.exception(30), Exited)
    over.set()


def test_a_thread_that_is_gone_has_no_place() -> None:
    assert watchdog.place_of("nobody") == ""
