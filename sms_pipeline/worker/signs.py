"""Signs of life: when each vital part of a worker last came round. Pure."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """A part without which a worker only looks alive."""

    LOOP = "main loop"
    DRIVER = "sender driver"
    WRITER = "ledger writer"


#: A part that takes longer for a turn, seconds, does not come round any more. The main loop tries
#: one broker after the other, and the writer asks a database that hangs: both give up before this.
LONGEST_TURN = {Part.LOOP: 60.0, Part.DRIVER: 30.0, Part.WRITER: 60.0}


class SignsOfLife:
    """When each part last came round, on a clock that only moves forward.

    Each part marks its own turns; any thread may look. A part that has not begun, or that has
    ended, is not expected to give signs. A process that was frozen finds all of its signs old when
    it goes on: whoever would act on that must look twice.
    """

    def __init__(self) -> None:
        self._turned_at: dict[Part, float] = {}

    def mark(self, part: Part, now: float) -> None:
        """Note that `part` came round."""
        self._turned_at[part] = now

    def end(self, part: Part) -> None:
        """Expect no more signs of `part`."""
        self._turned_at.pop(part, None)

    def excuse(self, part: Part, now: float) -> None:
        """Count the silence of `part` anew: it waits for something outside this process."""
        if part in self._turned_at:
            self.mark(part, now)

    def silence(self, part: Part, now: float) -> float | None:
        """Seconds since it last came round; None where no sign is expected."""
        turned_at = self._turned_at.get(part)
        return None if turned_at is None else max(now - turned_at, 0.0)

    def silent(self, now: float) -> tuple[Part, ...]:
        """The parts that do not come round any more."""
        return tuple(part for part in Part if (self.silence(part, now) or 0.0) > LONGEST_TURN[part])
