"""Trying again, with growing pauses, for as long as nobody says to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    wait_random_exponential,
)

from sms_pipeline.core.errors import StoppingError

T = TypeVar("T")


class Pauses(NamedTuple):
    """Between two tries, seconds. Each is drawn at random, up to a limit that doubles each time.

    The draw keeps a fleet that lost the same server at the same moment from coming back in step.
    """

    #: The shortest, and the limit of the first.
    first: float
    #: The limit that is not passed.
    longest: float


class Stop(Protocol):
    """A `threading.Event`, or what waits like one."""

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds, or until it is set; return whether it is."""


def patiently(
    call: Callable[[], T],
    errors: type[Exception] | Callable[[BaseException], bool],
    pauses: Pauses,
    stop: Stop,
    tell: Callable[[BaseException, float], None],
) -> T:
    """`call`, again and again while it raises one of `errors`; return what it returns in the end.

    Args:
        call: what may fail for a while; must be safe to repeat.
        errors: those that pass by themselves, or whether one does. All others are raised.
        pauses: between two tries.
        stop: ends the waiting.
        tell: is told each error, and the seconds until the next try.

    Raises:
        StoppingError: `stop` was set during a pause.
    """

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise StoppingError("told to stop while it waited to try again")

    def tell_of(state: RetryCallState) -> None:
        if state.outcome and state.next_action and (error := state.outcome.exception()):
            tell(error, state.next_action.sleep)

    retrying = Retrying(
        retry=_retry_if(errors),
        wait=wait_random_exponential(pauses.first, max=pauses.longest, min=pauses.first),
        sleep=pause,
        before_sleep=tell_of,
    )
    return retrying(call)


def _retry_if(errors: type[Exception] | Callable[[BaseException], bool]) -> retry_if_exception:
    return (
        retry_if_exception_type(errors) if isinstance(errors, type) else retry_if_exception(errors)
    )
