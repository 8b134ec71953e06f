"""What the pages show, as JSON: numbers, and the texts that scripts put in their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sms_pipeline.core.hosts import host_of
from sms_pipeline.core.progress import ProfileProgress, Progress
from sms_pipeline.core.records import Run, WorkerRow
from sms_pipeline.core.run_list import RunTotals, Unreadable
from sms_pipeline.core.run_state import RunState
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Judgement
from sms_pipeline.ledger.timeline import Timeline
from sms_pipeline.views.course import make_course
from sms_pipeline.views.dashboard.charts import charts_json, summaries_json
from sms_pipeline.views.format import (
    NOTHING,
    count,
    duration,
    exact_percent,
    exact_seconds,
    message_time,
    percent,
    rate,
    tag_list,
)
from sms_pipeline.views.lines import SYMBOLS, failure_rates, other_ends
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.outcome import Outcome, Tone, outcome_of
from sms_pipeline.views.percentiles import PERCENTILES, tail
from sms_pipeline.views.reader import Reading
from sms_pipeline.views.states import cure_of, lost_time, notices, waits_for

#: A page lists so many workers and counts the others.
SHOWN_WORKERS = 20


def run_json(
    run: Run,
    reading: Reading,
    timeline: Timeline,
    outcome: Outcome | None = None,
    foretold: Timeline | None = None,
) -> dict[str, Any]:
    """A run for its page: the fields of `--json`, and the texts and charts of the page."""
    progress = reading.progress
    events = run.simulation.events
    course = make_course(timeline, progress.seconds, progress.counts, events, foretold)
    return {
        **progress_json(progress),
        # A browser's numbers hold 53 bits.
        "seed": str(run.seed),
        # Seconds since the epoch: scripts show them in the time zone of the browser.
        "started_at": progress.started_at,
        "ended_at": _ended_at(progress),
        **_outcome_json(outcome or outcome_of(progress)),
        "shown": {
            "name": _name(run.simulation),
            "texts": _texts(progress),
            "times": list(_times(progress, timeline)),
            "profiles": [_profile_cells(profile) for profile in progress.profiles],
            "thresholds": [_threshold(judgement) for judgement in progress.thresholds],
            "workers": _workers(reading),
            "notices": notices(progress),
            "charts": summaries_json(course),
        },
        "charts": charts_json(course),
    }


def _name(simulation: Simulation) -> str:
    """What it is called, its tags, and whether it is urgent."""
    urgent = "urgent" if simulation.urgent else None
    return " · ".join(filter(None, (simulation.name, tag_list(simulation.tags), urgent)))


def _outcome_json(outcome: Outcome) -> dict[str, str]:
    return {"verdict": outcome.line, "tone": outcome.tone.value}


def totals_json(
    totals: RunTotals, outcome: Outcome, unattended: Sequence[str] = ()
) -> dict[str, Any]:
    """A run in the list of runs; `unattended` are profiles that wait for a worker."""
    run, counts = totals.run, totals.counts
    return {
        "run": run.id,
        "name": _name(run.simulation),
        "started_at": run.started_at,
        "total": run.total,
        "control": run.control.value,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "expired": counts.expired,
        "cancelled": counts.cancelled,
        "done": totals.done,
        "state": outcome.state.value,
        "cure": cure_of(run.id, outcome.state, unattended, run.control),
        **_outcome_json(outcome),
        "shown": [count(run.total), count(counts.delivered), count(counts.failed)],
    }


def unreadable_json(run: Unreadable) -> dict[str, Any]:
    """A run in the list of runs whose rows can't be read."""
    return {
        "run": run.run,
        "name": "",
        "started_at": None,
        "total": 1,
        "control": "",
        "delivered": 0,
        "failed": 0,
        "expired": 0,
        "cancelled": 0,
        "done": False,
        "state": "damaged",
        "cure": None,
        "verdict": run.reason,
        "tone": Tone.BAD.value,
        "shown": ["?", "?", "?"],
    }


def _ended_at(progress: Progress) -> float | None:
    if not progress.done:
        return None
    return progress.started_at + progress.seconds


def _texts(progress: Progress) -> dict[str, str]:
    """Texts by the id of their element."""
    counts, done = progress.counts, progress.done
    average = rate(progress.average_rate)
    return {
        "messages": count(progress.total),
        "share": percent(progress.share),
        "delivered": count(counts.delivered),
        "delivered-more": f"{percent(progress.reached)} of {count(progress.total)}",
        "failed": count(counts.failed),
        "failed-more": _failed_more(progress),
        "in-flight": count(counts.in_flight),
        "in-flight-more": f"{count(counts.retrying)} of them retrying",
        "rate-name": "Average rate" if done else "Rate",
        "rate": average if done else rate(progress.rate),
        "rate-more": "over the whole run" if done else f"average rate {average}",
        "eta-name": "Took" if done else "Time left",
        "eta": duration(progress.seconds) if done else _time_left(progress),
        "eta-more": "" if done else _time_left_more(progress),
        "unfinished": count(progress.total - counts.finished),
    }


def _failed_more(progress: Progress) -> str:
    others = [f"{count(some)} {name}" for name, some in other_ends(progress.counts).items()]
    if others:
        return f"also {', '.join(others)}"
    return f"{count(progress.counts.failed_attempts)} failed attempts"


def _time_left(progress: Progress) -> str:
    moving = progress.state in (RunState.RUNNING, RunState.CANCELLED)
    return duration(progress.eta_seconds) if moving else progress.state


def _time_left_more(progress: Progress) -> str:
    waiting = waits_for(progress)
    return f"{duration(progress.seconds)} so far{f'; {waiting}' if waiting else ''}"


def _times(progress: Progress, timeline: Timeline) -> Iterator[tuple[str, str]]:
    counts = progress.counts
    yield "Average time per message", message_time(counts.mean_delivery)
    yield "Average transit", message_time(counts.mean_transit)
    yield "Average send, an attempt", message_time(counts.mean_send)
    yield "Average send, all attempts", message_time(counts.mean_send_in_all)
    yield "Failed attempts", percent(counts.failure_rate)
    for name, lost in lost_time(progress):
        yield name.capitalize(), lost
    for share in PERCENTILES.values():
        yield f"{exact_percent(share)} within", message_time(counts.percentile(share))
    if counts.on_phone.delivered:
        for share in PERCENTILES.values():
            seconds = counts.on_phone.percentile(share)
            yield f"{exact_percent(share)} on the phone within", message_time(seconds)
        yield "Without a receipt", count(counts.on_phone.missing)
    for share, seconds in timeline.time_to_reach.items():
        yield f"{exact_percent(share)} reached after", duration(seconds)


def _profile_cells(profile: ProfileProgress) -> list[str]:
    counts = profile.counts
    return [
        profile.name,
        count(profile.senders),
        count(counts.in_flight),
        count(counts.delivered),
        count(counts.failed),
        failure_rates(profile),
        message_time(counts.mean_delivery),
        message_time(tail(counts)),
        percent(profile.efficiency),
    ]


def _threshold(judgement: Judgement) -> dict[str, str]:
    said = (judgement.check.text, judgement.seen_text, judgement.state)
    return {
        "state": judgement.state.value,
        "text": f"{SYMBOLS[judgement.state]} {' · '.join(said)}",
    }


def _workers(reading: Reading) -> dict[str, Any]:
    done = reading.progress.done
    workers = reading.snapshot.workers if done else reading.online
    shown = workers[:SHOWN_WORKERS]
    hidden = len(workers) - len(shown)
    none = "No worker took part." if done else "No worker is online."
    return {
        "title": "Workers of this run" if done else "Workers online",
        "count": count(len(workers)),
        "cells": [_worker_cells(worker) for worker in shown],
        "joined_at": [worker.joined_at for worker in shown],
        "more": f"and {count(hidden)} more" if hidden else "" if shown else none,
    }


def _worker_cells(worker: WorkerRow) -> list[str]:
    return [
        worker.id,
        host_of(worker.id) or NOTHING,
        worker.profile,
        count(worker.senders),
        exact_seconds(worker.mean_time),
        exact_percent(worker.failure_rate),
    ]
