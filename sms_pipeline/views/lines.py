"""The figures of a run in words: lines for pipes and logs, and the summary at the end. Pure."""

from __future__ import annotations

from datetime import datetime

from sms_pipeline.config.simulation import Simulation
from sms_pipeline.core.checks import Judgement
from sms_pipeline.core.progress import ProfileProgress, Progress

#: Profiles that the headline spells out; the others are counted.
_HEADLINE_PROFILES = 5


def report_line(progress: Progress) -> str:
    """One report as one line."""
    times = progress.times
    return (
        f"[{progress.seconds:7.1f} s] {progress.share:6.1%}  sent {progress.sent:,}  "
        f"failed {progress.failed:,}  average time per message {time(times.mean_delivery)} "
        f"(send {time(times.mean_send)})  in flight {progress.in_flight:,}  "
        f"failed attempts {progress.failed_attempts:,}  "
        f"rate {progress.rate:,.0f}/s  p50 {time(times.p50_delivery)}  "
        f"p95 {time(times.p95_delivery)}  p99 {time(times.p99_delivery)}  "
        f"ETA {duration(progress.eta_seconds)}"
    )


def profile_line(profile: ProfileProgress) -> str:
    """One profile as one line."""
    return (
        f"{profile.name}: senders online {profile.online_senders:,}  backlog {profile.backlog:,}  "
        f"retrying {profile.retrying:,}  sent {profile.sent:,}  failed {profile.failed:,}  "
        f"average time per message {time(profile.times.mean_delivery)} "
        f"(send {time(profile.times.mean_send)})  share {percent(profile.share)}  "
        f"failed attempts {failure_rates(profile)}  efficiency {percent(profile.efficiency)}"
    )


def threshold_line(judgement: Judgement) -> str:
    """One threshold as one line."""
    return f"threshold {judgement.state}: {judgement.check.text} ({judgement.seen_text})"


def summary_lines(progress: Progress, ended: str) -> list[str]:
    """What is worth reading a week later; `ended` says how it ended."""
    return [
        *summary_of_run(progress, ended),
        *(f"  {summary_of_profile(profile)}" for profile in progress.profiles),
        *(threshold_line(judgement) for judgement in progress.thresholds),
        hint(progress),
    ]


def summary_of_run(progress: Progress, ended: str) -> list[str]:
    """When and what it was, and how it went as a whole."""
    times = progress.times
    return [
        f"Run {progress.run} {ended}: {progress.finished:,} of {progress.total:,} messages in "
        f"{progress.seconds:,.1f} s, {progress.average_rate:,.0f} a second.",
        f"Started {date(progress.started_at)}, seed {progress.seed}; "
        f"{headline(progress.simulation)}.",
        f"Sent {progress.sent:,}, failed {progress.failed:,} (out of attempts)"
        f"{_other_ends(progress)}; failed attempts {progress.failed_attempts:,} of "
        f"{progress.attempts:,} ({percent(progress.failure_rate_seen)}).",
        f"Average time per message {time(times.mean_delivery)} from dispatch to the end "
        f"(p50 {time(times.p50_delivery)}, p95 {time(times.p95_delivery)}, "
        f"p99 {time(times.p99_delivery)}); {time(times.mean_send)} at the sender.",
    ]


def summary_of_profile(profile: ProfileProgress) -> str:
    """A profile's part in the run."""
    times = profile.times
    return (
        f"{profile.name}: {profile.dispatched:,} messages ({percent(profile.share)}), "
        f"sent {profile.sent:,}, failed {profile.failed:,}; "
        f"failed attempts {failure_rates(profile)}; "
        f"{time(times.mean_delivery)} on average (p95 {time(times.p95_delivery)}), "
        f"{time(times.mean_send)} at the sender; efficiency {percent(profile.efficiency)}"
    )


def hint(progress: Progress) -> str:
    """What to do next."""
    if not progress.done:
        return f"Where every message is: sms-pipeline audit {progress.run}"
    return f"Prove that none is missing or doubled: sms-pipeline audit {progress.run}"


def headline(simulation: Simulation) -> str:
    """What was rehearsed, in a few words."""
    shown = simulation.senders[:_HEADLINE_PROFILES]
    senders = [
        f"{one.name} {one.count:,} at {one.mean_time:g} s failing {one.failure_rate:.0%}"
        for one in shown
    ]
    if len(simulation.senders) > len(shown):
        senders.append(f"{len(simulation.senders) - len(shown)} profiles more")
    attempts = simulation.retry.max_attempts
    tries = "attempts until sent" if attempts is None else f"at most {attempts} attempts"
    deadline = f"; deadline {simulation.deadline:g} s" if simulation.deadline else ""
    return f"senders {', '.join(senders)}; {simulation.routing} routing; {tries}{deadline}"


def _other_ends(progress: Progress) -> str:
    ends = {"expired": progress.expired, "cancelled": progress.cancelled}
    return "".join(f", {name} {count:,}" for name, count in ends.items() if count)


def failure_rates(profile: ProfileProgress) -> str:
    """The rate seen, against the one configured."""
    return f"{percent(profile.failure_rate_seen)} (configured {percent(profile.failure_rate)})"


def time(seconds: float | None) -> str:
    """A time of one message."""
    return "-" if seconds is None else f"{seconds:.3f} s"


def percent(share: float | None) -> str:
    """A share, 0 to 1."""
    return "-" if share is None else f"{share:.1%}"


def date(at: float | None) -> str:
    """Seconds since the epoch, in the reader's time zone."""
    if at is None:
        return "not yet"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


_MINUTE, _HOUR = 60, 3_600


def duration(seconds: float | None) -> str:
    """A time of the whole run."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
