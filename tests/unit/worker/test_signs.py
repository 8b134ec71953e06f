"""When a part of a worker counts as silent."""

from __future__ import annotations

from sms_pipeline.worker.signs import LONGEST_TURN, Part, SignsOfLife


def test_part_that_never_came_round_is_not_expected() -> None:
    signs = SignsOfLife()
    assert signs.silence(Part.LOOP, 1e9) is None
    assert signs.silent(1e9) == ()


def test_silence_counts_from_the_last_turn_of_that_part() -> None:
    signs = SignsOfLife()
    signs.mark(Part.LOOP, 10.0)
    signs.mark(Part.DRIVER, 12.0)
    signs.mark(Part.LOOP, 13.0)
    assert (signs.silence(Part.LOOP, 15.0), signs.silence(Part.DRIVER, 15.0)) == (2.0, 3.0)


def test_silence_is_never_negative() -> None:
    # The thread that looks may have read its clock before the part marked its turn.
    signs = SignsOfLife()
    signs.mark(Part.WRITER, 10.0)
    assert signs.silence(Part.WRITER, 9.9) == 0.0


def test_part_is_silent_once_its_longest_turn_has_passed() -> None:
    signs = SignsOfLife()
    for part in Part:
        signs.mark(part, 0.0)
        assert part not in signs.silent(LONGEST_TURN[part])
        assert part in signs.silent(LONGEST_TURN[part] + 0.1)


def test_part_that_ended_is_not_expected() -> None:
    signs = SignsOfLife()
    signs.mark(Part.DRIVER, 0.0)
    signs.end(Part.DRIVER)
    signs.end(Part.DRIVER)
    assert signs.silent(1e9) == ()
