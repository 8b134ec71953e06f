"""The metrics and the health of a run. `exporter` reads the ledger and serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from sms_pipeline.core import histogram
from sms_pipeline.core.counts import ProfileCounts, of_messages
from sms_pipeline.core.hosts import HostPart
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Control
from sms_pipeline.core.run_state import RunState, stands_still
from sms_pipeline.views.format import count, duration
from sms_pipeline.views.reader import Reading

#: Every fourth bucket of the ledger is shown, two for each doubling …
SHOWN_BUCKET_STEP = histogram.BUCKETS_PER_DOUBLING // 2
#: … from 8 ms …
FIRST_SHOWN_BUCKET = 3 * histogram.BUCKETS_PER_DOUBLING
#: … to 70 minutes; what took longer is counted in `+Inf`.
LAST_SHOWN_BUCKET = 22 * histogram.BUCKETS_PER_DOUBLING

#: Prefix of every name.
NAMESPACE = "sms_pipeline"
_RUN = ("run",)
_RUN_PROFILE = ("run", "profile")
_PROFILE_HOST = ("profile", "host")
#: Stands for a profile that has no sender online: alerts need its zero.
_NOBODY = HostPart(None, 0, 0, 0.0)


class Health(NamedTuple):
    """Whether all is well, and one line that says why or why not."""

    ok: bool
    reason: str


def health(reading: Reading) -> Health:
    """Red if nothing happens although the run is neither done nor paused."""
    progress = reading.progress
    run = f"run {progress.run}"
    if progress.done:
        return Health(True, f"{run} is done")
    if progress.control is Control.PAUSED:
        return Health(True, f"{run} is paused")
    if not stands_still(reading.snapshot.simulation, reading.wall, reading.idle_seconds):
        ended = f"{count(progress.counts.finished)} of {of_messages(progress.total)}"
        return Health(True, f"{run}: {ended} ended")
    nobody = [profile.name for profile in progress.profiles if profile.is_unattended]
    hint = f"; no sender online: {', '.join(nobody)}" if nobody else ""
    return Health(
        False,
        f"{run}: no progress for {duration(reading.idle_seconds)}, "
        f"{of_messages(progress.counts.in_flight)} waiting, "
        f"{count(progress.total - progress.counts.dispatched)} not dispatched{hint}",
    )


def health_metrics(health: Health, ledger_up: bool) -> Iterator[Metric]:
    """Metrics that exist even while the ledger can't be read."""
    yield GaugeMetricFamily(
        f"{NAMESPACE}_ledger_up", "1 if the ledger can be read, else 0.", float(ledger_up)
    )
    yield GaugeMetricFamily(
        f"{NAMESPACE}_healthy", "1 if /healthz answers ok, else 0.", float(health.ok)
    )


def run_metrics(reading: Reading) -> Iterator[Metric]:
    """All metrics of a run, from one consistent reading of its counters."""
    run = str(reading.snapshot.run)
    yield from _about_run(reading, run)
    yield from _message_counters(reading.snapshot.profiles, run)
    yield from _waiting_messages(reading.snapshot.profiles, run)
    yield _delivery_times(reading.snapshot.profiles, run)
    yield from _on_phone(reading.snapshot.profiles, run)
    if reading.decided:
        yield from _online_senders(reading.progress, run)


def _about_run(reading: Reading, run: str) -> Iterator[Metric]:
    progress, simulation = reading.progress, reading.snapshot.simulation
    info = {
        "run": run,
        "name": simulation.name or "",
        "seed": str(reading.snapshot.seed),
        "routing": simulation.routing,
    }
    yield _gauge(
        "run_info", "What the run was started with; always 1.", info, {tuple(info.values()): 1}
    )
    yield _gauge(
        "run_state",
        "1 for the state that the run is in, 0 for the others.",
        ("run", "state"),
        {(run, known.value): float(known is progress.state) for known in RunState},
    )
    figures = {
        "run_messages": ("Messages of the run, whatever became of them.", progress.total),
        "run_elapsed_seconds": (
            "Seconds from the start of the run to now, or to the last settlement once it is done.",
            progress.seconds,
        ),
        "run_paused_seconds": ("Seconds for which the run was paused.", progress.paused_seconds),
        "run_interrupted_seconds": (
            "Seconds for which nothing happened before a resume.",
            progress.interrupted_seconds,
        ),
        "idle_seconds": (
            "Seconds since a batch was dispatched or settled; 0 when the run is done.",
            0.0 if progress.done else reading.idle_seconds,
        ),
    }
    for name, (text, value) in figures.items():
        yield _gauge(name, text, _RUN, {(run,): value})
    if progress.eta_seconds is not None:
        yield _gauge(
            "run_left_seconds",
            "Seconds until the run is done; not there while that is not known.",
            _RUN,
            {(run,): progress.eta_seconds},
        )


def _message_counters(profiles: Iterable[ProfileCounts], run: str) -> Iterator[Metric]:
    messages = _counter(
        "messages_total", "Messages in a terminal state, by state.", (*_RUN_PROFILE, "state")
    )
    attempts = _counter(
        "attempts_total", "Attempts made at a sender, by outcome.", (*_RUN_PROFILE, "outcome")
    )
    dispatched = _counter("dispatched_messages_total", "Messages dispatched.", _RUN_PROFILE)
    handed = _counter(
        "handed_over_messages_total",
        "Messages handed over between profiles, by direction.",
        (*_RUN_PROFILE, "direction"),
    )
    send = _counter(
        "send_seconds_total", "Time that senders spent on attempts, in seconds.", _RUN_PROFILE
    )
    transit = _counter(
        "transit_seconds_total",
        "From dispatch to the end, in seconds, of messages delivered or failed.",
        _RUN_PROFILE,
    )
    for counts in profiles:
        labels = [run, counts.profile]
        for state in ("delivered", "failed", "expired", "cancelled"):
            messages.add_metric([*labels, state], getattr(counts, state))
        attempts.add_metric([*labels, "delivered"], counts.delivered)
        attempts.add_metric([*labels, "failed"], counts.failed_attempts)
        dispatched.add_metric(labels, counts.dispatched)
        handed.add_metric([*labels, "in"], counts.handed_in)
        handed.add_metric([*labels, "away"], counts.handed_away)
        send.add_metric(labels, counts.send_seconds)
        transit.add_metric(labels, counts.transit_seconds)
    yield from (messages, attempts, dispatched, handed, send, transit)


def _waiting_messages(profiles: Iterable[ProfileCounts], run: str) -> Iterator[Metric]:
    parts = list(profiles)
    yield _gauge(
        "backlog_messages",
        "Messages dispatched whose first attempt is not settled.",
        _RUN_PROFILE,
        {(run, counts.profile): counts.backlog for counts in parts},
    )
    yield _gauge(
        "retrying_messages",
        "Messages that failed an attempt and whose next one is not settled.",
        _RUN_PROFILE,
        {(run, counts.profile): counts.retrying for counts in parts},
    )


def _delivery_times(profiles: Iterable[ProfileCounts], run: str) -> Metric:
    family = HistogramMetricFamily(
        f"{NAMESPACE}_delivery_seconds",
        "From the start of the run to the end, of messages delivered or failed.",
        labels=_RUN_PROFILE,
    )
    for counts in profiles:
        buckets = cumulative(counts.delivery_times)
        family.add_metric([run, counts.profile], buckets, counts.delivery_seconds)
    return family


def _on_phone(profiles: Iterable[ProfileCounts], run: str) -> Iterator[Metric]:
    """Of profiles with delivery receipts; without any, nothing."""
    known = [(one.profile, one.on_phone) for one in profiles if one.on_phone.delivered]
    if not known:
        return
    times = HistogramMetricFamily(
        f"{NAMESPACE}_on_phone_seconds",
        "From the start of the run to the phone, of messages with a delivery receipt.",
        labels=_RUN_PROFILE,
    )
    missing = _counter(
        "without_receipt_total",
        "Delivered messages for which no receipt ever comes.",
        _RUN_PROFILE,
    )
    for profile, one in known:
        times.add_metric([run, profile], cumulative(one.times), one.seconds)
        missing.add_metric([run, profile], one.missing)
    yield from (times, missing)


def cumulative(counts: Mapping[int, int]) -> list[tuple[str, float]]:
    """The buckets of Prometheus, made from those of the ledger."""
    shown = range(FIRST_SHOWN_BUCKET, LAST_SHOWN_BUCKET + 1, SHOWN_BUCKET_STEP)
    sums = list(accumulate(counts.get(bucket, 0) for bucket in range(histogram.LAST_BUCKET + 1)))
    bounded = [(repr(histogram.upper_bound(bucket)), sums[bucket]) for bucket in shown]
    return [*bounded, ("+Inf", sums[-1])]


def _online_senders(progress: Progress, run: str) -> Iterator[Metric]:
    yield _gauge(
        "senders_online",
        "Senders that are online, by host; of a run that is done, those that took part in it.",
        _PROFILE_HOST,
        {
            (profile.name, part.host or ""): part.senders
            for profile in progress.profiles
            for part in profile.hosts or (_NOBODY,)
        },
    )
    yield _gauge(
        "capacity_messages_per_second",
        "Attempts per second that these senders can make.",
        _PROFILE_HOST,
        {
            (profile.name, part.host or ""): part.capacity
            for profile in progress.profiles
            for part in profile.hosts or (_NOBODY,)
        },
    )
    yield _gauge(
        "efficiency_ratio",
        "How busy senders were: seconds on attempts, per second that they were there, 0 to 1.",
        _RUN_PROFILE,
        {
            (run, profile.name): profile.efficiency
            for profile in progress.profiles
            if profile.efficiency is not None
        },
    )


def _counter(name: str, text: str, labels: tuple[str, ...]) -> CounterMetricFamily:
    return CounterMetricFamily(f"{NAMESPACE}_{name}", text, labels=labels)


def _gauge(
    name: str, text: str, labels: Iterable[str], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=tuple(labels))
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
