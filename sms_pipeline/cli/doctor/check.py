"""What a check came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: A run works, but slower or less safely than it should.
    WARNING = "warning"
    #: A run fails, or may lose or delay messages.
    FAULT = "fault"
    #: It can't be learnt from here; the remedy says how to look.
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    finding: str
    #: What to do about it, a command where there is one.
    remedy: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """For programs."""
        return asdict(self)


def ok(name: str, finding: str) -> Check:
    """All is well."""
    return Check(name, State.OK, finding)


def warning(name: str, finding: str, remedy: str) -> Check:
    """A run works, but not as well as it could."""
    return Check(name, State.WARNING, finding, remedy)


def fault(name: str, finding: str, remedy: str) -> Check:
    """A run would fail, or could lose or delay messages."""
    return Check(name, State.FAULT, finding, remedy)


def unknown(name: str, finding: str, remedy: str) -> Check:
    """It can't be learnt from here."""
    return Check(name, State.UNKNOWN, finding, remedy)


def is_healthy(checks: Iterable[Check]) -> bool:
    """Whether there is no fault."""
    return all(check.state is not State.FAULT for check in checks)
