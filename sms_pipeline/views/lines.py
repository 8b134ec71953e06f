"""The figures of a run in words: lines for pipes and logs, and the summary at the end. Pure."""

from __future__ import annotations

from datetime import datetime

from sms_pipeline.core.progress import ProfileProgress, Progress
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Judgement

#: Profiles that the headline spells out; the others are counted.
_HEADLINE_PROFILES = 5


def report_line(progress: Progress) -> str:
    """One report as one line."""
    counts = progress.counts
    return (
        f"[{progress.seconds:7.1f} s] {progress.share:6.1%}  delivered {counts.delivered:,}  "
        f"failed {counts.failed:,}  average time per message {time(counts.mean_delivery)} "
        f"(send {time(counts.mean_send)})  in flight {counts.in_flight:,}  "
        f"failed attempts {counts.failed_attempts:,}  "
        f"rate {progress.rate:,.0f}/s  p50 {time(counts.percentile(0.50))}  "
        f"p95 {time(counts.percentile(0.95))}  p99 {time(counts.percentile(0.99))}  "
        f"ETA {duration(progress.eta_seconds)}"
    )


def profile_line(profile: ProfileProgress) -> str:
    """One profile as one line."""
    counts = profile.counts
    return (
        f"{profile.name}: senders online {profile.online_senders:,}  "
        f"backlog {counts.backlog:,}  retrying {counts.retrying:,}  "
        f"delivered {counts.delivered:,}  failed {counts.failed:,}  "
        f"average time per message {time(counts.mean_delivery)} "
        f"(send {time(counts.mean_send)})  share {percent(profile.share)}  "
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
    counts = progress.counts
    return [
        f"Run {progress.run} {ended}: {counts.finished:,} of {progress.total:,} messages in "
        f"{progress.seconds:,.1f} s, {progress.average_rate:,.0f} a second.",
        f"Started {date(progress.started_at)}, seed {progress.seed}; "
        f"{headline(progress.simulation)}.",
        f"Delivered {counts.delivered:,}, failed {counts.failed:,} (out of attempts)"
        f"{_other_ends(progress)}; failed attempts {counts.failed_attempts:,} of "
        f"{counts.attempts_made:,} ({percent(counts.failure_rate)}).",
        f"Average time per message {time(counts.mean_delivery)} from dispatch to the end "
        f"(p50 {time(counts.percentile(0.50))}, p95 {time(counts.percentile(0.95))}, "
        f"p99 {time(counts.percentile(0.99))}); {time(counts.mean_send)} at the sender.",
    ]


def summary_of_profile(profile: ProfileProgress) -> str:
    """A profile's part in the run."""
    counts = profile.counts
    return (
        f"{profile.name}: {counts.dispatched:,} messages ({percent(profile.share)}), "
        f"delivered {counts.delivered:,}, failed {counts.failed:,}; "
        f"failed attempts {failure_rates(profile)}; "
        f"{time(counts.mean_delivery)} on average (p95 {time(counts.percentile(0.95))}), "
        f"{time(counts.mean_send)} at the sender; efficiency {percent(profile.efficiency)}"
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
    tries = "attempts until delivered" if attempts is None else f"at most {attempts} attempts"
    deadline = f"; deadline {simulation.deadline:g} s" if simulation.deadline else ""
    return f"senders {', '.join(senders)}; {simulation.routing} routing; {tries}{deadline}"


def _other_ends(progress: Progress) -> str:
    ends = {"expired": progress.counts.expired, "cancelled": progress.counts.cancelled}
    return "".join(f", {name} {count:,}" for name, count in ends.items() if count)


def failure_rates(profile: ProfileProgress) -> str:
    """The rate seen, against the one configured."""
    return f"{percent(profile.counts.failure_rate)} (configured {percent(profile.failure_rate)})"


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
