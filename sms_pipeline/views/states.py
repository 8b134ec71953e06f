"""How a run stands, and the command that gets it going again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sms_pipeline.core.counts import of_messages
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Control, Snapshot, WorkerRow
from sms_pipeline.core.run_state import RunState
from sms_pipeline.views.format import duration


def cure(progress: Progress) -> str | None:
    """What is wrong with the run, and what mends it; None if nothing is."""
    unattended = [part.name for part in progress.profiles if part.is_unattended]
    return cure_of(progress.run, progress.state, unattended, progress.control)


def cure_of(
    run: int,
    state: RunState,
    unattended: Sequence[str] = (),
    control: Control = Control.RUNNING,
) -> str | None:
    """The same, of what is known of a run.

    Args:
        run: its number.
        state: how it stands.
        unattended: profiles with messages in flight and no sender online.
        control: what the user wants of it.
    """
    match state:
        case RunState.PAUSED:
            return f"paused: go on with sms-pipeline continue {run}"
        case RunState.INTERRUPTED if control is Control.CANCELLED:
            return f"cancelled: settle what is open with sms-pipeline resume {run}"
        case RunState.INTERRUPTED:
            return f"interrupted: go on with sms-pipeline resume {run}"
        case RunState.STALLED if unattended:
            command = f"celery -A sms_pipeline worker --profile {unattended[0]}"
            return f"stalled: start a worker: {command}"
        case RunState.STALLED:
            return f"stalled: go on with sms-pipeline resume {run}"
    return None


def unattended(snapshot: Snapshot, online: Iterable[WorkerRow]) -> list[str]:
    """Profiles of the run with messages in flight and no sender online."""
    served = {worker.profile for worker in online}
    return [
        counts.profile
        for counts in snapshot.profiles
        if counts.in_flight and counts.profile not in served
    ]


def notices(progress: Progress) -> list[str]:
    """What people should know at once: the cure, then the warnings."""
    found = cure(progress)
    if not found:
        return list(progress.warnings)
    first = f"the run is {found}"
    return [first, *(one for one in progress.warnings if not first.startswith(one))]


#: States in which nothing can be said of the end before somebody does something.
_STANDING = (RunState.PAUSED, RunState.INTERRUPTED, RunState.STALLED)


def eta(progress: Progress) -> str:
    """How long the run will still take, in two or three words."""
    if progress.state in _STANDING:
        return f"{progress.state}, no ETA"
    return f"ETA {duration(progress.eta_seconds)}"


def time_left(progress: Progress) -> str:
    """The same, and what it waits for: its hours, or retries if nothing else is left."""
    waiting = waits_for(progress)
    return f"{eta(progress)} ({waiting})" if waiting else eta(progress)


def waits_for(progress: Progress) -> str | None:
    """That, alone."""
    return waiting_hours(progress) or waiting_retries(progress)


def waiting_hours(progress: Progress) -> str | None:
    """That a run is outside its hours, and when they begin; None while they last."""
    window, now = progress.simulation.window, progress.started_at + progress.seconds
    if window is None or progress.state is not RunState.RUNNING or not window.opens_in(now):
        return None
    return f"waits for its hours: {window.opening}"


def waiting_retries(progress: Progress) -> str | None:
    """What a run waits for of which only retries are left; None while others are."""
    seconds, messages = progress.next_retry_seconds, progress.counts.retrying
    if seconds is None:
        return None
    if messages == 1:
        return f"1 message waits for its retry, in {duration(seconds)}"
    return f"{of_messages(messages)} wait for their retry, next in {duration(seconds)}"


def lost_time(progress: Progress) -> Iterator[tuple[str, str]]:
    """For how long the run was paused, and interrupted, by name; zeros are left out."""
    if progress.paused_seconds:
        yield "paused for", duration(progress.paused_seconds)
    if progress.interrupted_seconds:
        yield "interrupted for", duration(progress.interrupted_seconds)
