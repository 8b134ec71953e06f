"""A run as lines of text: updates for pipes and logs, and the summary at the end. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from sms_pipeline.core.counts import Counts, how_many, of_attempts, of_messages
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.progress import ProfileProgress, Progress
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Judgement, State
from sms_pipeline.views.format import (
    count,
    duration,
    exact_percent,
    exact_seconds,
    message_time,
    moment,
    money,
    part_limit,
    percent,
    rate,
    run_title,
    tag_list,
)
from sms_pipeline.views.outcome import Outcome, outcome_of
from sms_pipeline.views.parts import parts_lines
from sms_pipeline.views.percentiles import (
    TAIL,
    percentiles,
    percentiles_on_phone,
    tail,
    tail_on_phone,
)
from sms_pipeline.views.states import cure, eta, lost_time

#: One for each state of a threshold.
SYMBOLS = {State.HOLDING: "✓", State.PASSED: "✓", State.MISSED: "✗", State.UNKNOWN: "…"}
#: No line of an update is longer.
LINE_WIDTH = 100
#: What belongs to a line stands below it, so much further to the right.
INDENT = 4
#: Stands between two figures on a line.
GAP = "  "
#: Of a run's name, in an update.
_NAME_WIDTH = 20
#: A line names so many profiles and counts the others.
FEW_PROFILES = 5


def update_line(progress: Progress) -> str:
    """A run at one moment, as one line; on a narrow one what matters least is left out."""
    counts = progress.counts
    head = (
        f"[{duration(progress.seconds):>10}] {_short_name(progress)}{progress.state} "
        f"{percent(progress.share):>6}"
    )
    figures = [
        *ends(counts),
        f"average time {message_time(counts.mean_delivery)}",
        eta(progress),
        f"rate {rate(progress.rate)}",
        f"in flight {count(counts.in_flight)}",
    ]
    return fitted([head, *figures])


def detail_lines(progress: Progress) -> list[str]:
    """What a line has no room for."""
    counts = progress.counts
    times = [average_times(counts), *delivery_times(counts)]
    attempts = [
        f"failed attempts {count(counts.failed_attempts)}",
        f"in flight {count(counts.in_flight)}",
        f"rate {rate(progress.rate)}",
    ]
    groups = [times, *on_phone_figures(counts), attempts]
    return flow(groups, LINE_WIDTH - INDENT)


def _short_name(progress: Progress) -> str:
    name = progress.simulation.name
    if not name:
        return ""
    return f'"{name}" ' if len(name) <= _NAME_WIDTH else f'"{name[: _NAME_WIDTH - 1]}…" '


def profile_line(profile: ProfileProgress) -> str:
    """A profile at one moment, as one line; what matters least is left out."""
    return fitted(_profile_figures(profile), LINE_WIDTH - INDENT)


def profile_lines(profile: ProfileProgress) -> list[str]:
    """All that is known of it, in as many lines as that takes."""
    return flow([_profile_figures(profile)], LINE_WIDTH - 2 * INDENT)


def _profile_figures(profile: ProfileProgress) -> list[str]:
    counts = profile.counts
    return [
        f"{profile.name}: senders {count(profile.senders)}{_spread(profile)}",
        f"backlog {count(counts.backlog)}",
        f"retrying {count(counts.retrying)}",
        *ends(counts),
        f"share {percent(profile.share)}",
        average_times(counts),
        f"failed attempts {failure_rates(profile)}",
        f"efficiency {percent(profile.efficiency)}",
    ]


def fitted(figures: Sequence[str], width: int = LINE_WIDTH) -> str:
    """As many of the figures as fit into one line, and at least the first."""
    line, *others = figures
    for figure in others:
        longer = f"{line}{GAP}{figure}"
        if len(longer) > width:
            return line
        line = longer
    return line


def flow(groups: Iterable[Sequence[str]], width: int) -> list[str]:
    """Put each group on lines of its own, which break only between figures."""
    flowed = []
    for group in groups:
        line = ""
        for figure in group:
            longer = f"{line}{GAP}{figure}" if line else figure
            if line and len(longer) > width:
                flowed.append(line)
                longer = figure
            line = longer
        flowed.append(line)
    return flowed


def wrapped(line: str) -> list[str]:
    """A line of prose, broken between words; what has no spaces, such as a path, stays whole."""
    return textwrap.wrap(
        line,
        LINE_WIDTH,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def threshold_line(judgement: Judgement) -> str:
    """One threshold as one line."""
    return f"threshold {judgement.state}: {judgement.check.text} ({judgement.seen_text})"


def summary_lines(progress: Progress, ended: str, outcome: Outcome | None = None) -> list[str]:
    """What is still worth reading a week later; `ended` says how the run ended."""
    known = outcome or outcome_of(progress)
    return [
        known.line,
        *summary_of_run(progress, ended),
        *(f"  {summary_of_profile(profile)}" for profile in progress.profiles),
        *(threshold_line(judgement) for judgement in progress.thresholds),
        *seal_lines(known),
        hint(progress),
    ]


def seal_lines(outcome: Outcome) -> list[str]:
    """To be noted where nobody can change it."""
    return [f"Seal {outcome.seal}"] if outcome.seal else []


def summary_of_run(progress: Progress, ended: str) -> list[str]:
    """When the run was, what was rehearsed, and how it went as a whole."""
    counts, title = progress.counts, run_title(progress.run, progress.simulation.name)
    tags = f", tags {tag_list(given)}" if (given := progress.simulation.tags) else ""
    urgent = ", urgent" if progress.simulation.urgent else ""
    lost = "".join(f", {name} {seconds}" for name, seconds in lost_time(progress))
    return [
        f"{title} {ended}: {count(counts.finished)} of {of_messages(progress.total)} "
        f"in {duration(progress.seconds)}{lost}, average rate {rate(progress.average_rate)}.",
        f"Started {moment(progress.started_at)}, seed {progress.seed}{tags}{urgent}; "
        f"{headline(progress.simulation)}.",
        *summary_of_counts(counts),
        *handed_lines(counts),
        *parts_lines(progress),
        *cost_lines(progress),
    ]


def handed_lines(counts: Counts) -> list[str]:
    """How many messages went from profile to profile, if any did."""
    if not counts.handed_in:
        return []
    return [f"Handed over between profiles: {of_messages(counts.handed_in)}."]


def summary_of_counts(counts: Counts) -> list[str]:
    """What became of a run's messages, and how long they took."""
    others = "".join(f", {name} {count(some)}" for name, some in other_ends(counts).items())
    return [
        f"Delivered {count(counts.delivered)}, failed {count(counts.failed)} (out of attempts)"
        f"{others}; failed attempts {count(counts.failed_attempts)} of "
        f"{count(counts.attempts_made)} ({percent(counts.failure_rate)}).",
        f"Average time per message {message_time(counts.mean_delivery)} from the start of the run "
        f"({', '.join(delivery_times(counts))}); transit {message_time(counts.mean_transit)} from "
        f"dispatch; send {message_time(counts.mean_send)} an attempt, "
        f"{message_time(counts.mean_send_in_all)} in all attempts at a message.",
        *_on_phone_lines(counts),
    ]


def _on_phone_lines(counts: Counts) -> Iterator[str]:
    """When messages were on the phone, where senders have receipts."""
    for mean, *times, missing in on_phone_figures(counts):
        listed = ", ".join(times)
        yield f"{mean[0].upper()}{mean[1:]} from the start of the run ({listed}); {missing}."


def cost_lines(progress: Progress) -> list[str]:
    """What was delivered cost so much, where profiles have prices."""
    if progress.cost is None:
        return []
    priced = [part for part in progress.profiles if part.cost is not None]
    listed = ", ".join(f"{part.name} {money(part.cost)}" for part in priced)
    return [f"Cost of what was delivered: {money(progress.cost)} ({listed})."]


def summary_of_profile(profile: ProfileProgress) -> str:
    """A profile's part in the run."""
    counts = profile.counts
    return (
        f"{profile.name}: {how_many(profile.senders, 'sender')}{_spread(profile)}, "
        f"{of_messages(counts.dispatched)} ({percent(profile.share)}){_handed(counts)}, "
        f"{', '.join(ends(counts))}; "
        f"failed attempts {failure_rates(profile)}; "
        f"{average_times(counts)}, {TAIL} {message_time(tail(counts))}; {_on_phone(counts)}"
        f"efficiency {percent(profile.efficiency)}"
    )


def _handed(counts: Counts) -> str:
    """What went to other profiles and came from them, where there is any."""
    ways = {"in": counts.handed_in, "away": counts.handed_away}
    told = [f"{count(messages)} handed {way}" for way, messages in ways.items() if messages]
    return f", {', '.join(told)}" if told else ""


def _spread(profile: ProfileProgress) -> str:
    """On how many hosts its senders are, where there are several."""
    return f" on {len(profile.hosts)} hosts" if len(profile.hosts) > 1 else ""


def hint(progress: Progress) -> str:
    """What to do next."""
    found = cure(progress)
    if found:
        return f"{found[0].upper()}{found[1:]}"
    if not progress.done:
        return f"To see where every message is: sms-pipeline audit {progress.run}"
    return f"To see how every message is accounted for: sms-pipeline audit {progress.run}"


def headline(simulation: Simulation) -> str:
    """What was rehearsed, in a few words."""
    senders = few_profiles(
        f"{one.name} {count(one.count)} at {_speed(one)} failing {exact_percent(one.failure_rate)}"
        for one in simulation.senders
    )
    attempts = simulation.retry.max_attempts
    tries = "attempts until delivered" if attempts is None else f"at most {of_attempts(attempts)}"
    deadline = f"; deadline {exact_seconds(simulation.deadline)}" if simulation.deadline else ""
    events = f"; {how_many(len(simulation.events), 'event')}" if simulation.events else ""
    return f"senders {senders}; {simulation.routing} routing; {tries}{deadline}{events}"


def few_profiles(said: Iterable[str]) -> str:
    """What is said of the first profiles, and how many more there are."""
    shown = list(said)
    if len(shown) > FEW_PROFILES:
        shown[FEW_PROFILES:] = [how_many(len(shown) - FEW_PROFILES, "more profile")]
    return ", ".join(shown)


def _speed(profile: SenderProfile) -> str:
    limit = profile.parts_per_second
    parts = "" if limit is None else f"{part_limit(limit)} and "
    return f"{parts}{exact_seconds(profile.mean_time)}"


def average_times(counts: Counts) -> str:
    """The average time per message, and what it is made of."""
    return (
        f"average time per message {message_time(counts.mean_delivery)} "
        f"(transit {message_time(counts.mean_transit)}, "
        f"send {message_time(counts.mean_send)} an attempt)"
    )


def delivery_times(counts: Counts) -> list[str]:
    """The percentiles of the delivery time, each with its name."""
    return [f"{name} {message_time(seconds)}" for name, seconds in percentiles(counts).items()]


def on_phone_figures(counts: Counts) -> list[list[str]]:
    """When messages were on the phone, on a line of its own; none where no sender has receipts."""
    known = counts.on_phone
    if not known.delivered:
        return []
    times = percentiles_on_phone(counts).items()
    missing = f"{count(known.missing)} ({percent(known.missing / known.delivered)})"
    figures = [
        f"on the phone after {message_time(known.mean)}",
        *(f"{name} {message_time(seconds)}" for name, seconds in times),
        f"without a receipt {missing}",
    ]
    return [figures]


def _on_phone(counts: Counts) -> str:
    """The same of a profile, in few words."""
    known = counts.on_phone
    if not known.delivered:
        return ""
    seconds = message_time(tail_on_phone(counts))
    return f"on the phone {TAIL} {seconds}, without a receipt {count(known.missing)}; "


def ends(counts: Counts) -> list[str]:
    """How messages ended: so many delivered and failed, and what else there is."""
    known = {"delivered": counts.delivered, "failed": counts.failed, **other_ends(counts)}
    return [f"{name} {count(messages)}" for name, messages in known.items()]


def other_ends(counts: Counts) -> dict[str, int]:
    """Expired and cancelled messages by name; zeros are left out."""
    ends = {"expired": counts.expired, "cancelled": counts.cancelled}
    return {name: messages for name, messages in ends.items() if messages}


def failure_rates(profile: ProfileProgress) -> str:
    """The share of attempts that failed, next to what the workers run with."""
    seen = percent(profile.counts.failure_rate)
    return f"{seen} (set {exact_percent(profile.failure_rate)})"
