"""What the pages show. Everything is read once, however many browsers ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import Any, Generic, TypeVar

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.errors import DamagedLedgerError, UnknownRunError
from sms_pipeline.core.liveness import Liveness
from sms_pipeline.core.records import Control, Run, WorkerRow
from sms_pipeline.core.run_list import RunTotals
from sms_pipeline.core.run_state import RunState, state_of
from sms_pipeline.ledger.forecasts import foretold
from sms_pipeline.ledger.steering import steer
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import History
from sms_pipeline.views.compare import read_side
from sms_pipeline.views.course import BINS
from sms_pipeline.views.dashboard.compared import comparison_json, trend_json
from sms_pipeline.views.dashboard.figures import run_json, totals_json, unreadable_json
from sms_pipeline.views.outcome import Outcomes
from sms_pipeline.views.reader import Reader
from sms_pipeline.views.report.document import make_report
from sms_pipeline.views.report.page import KINDS
from sms_pipeline.views.states import unattended

#: Runs on one page of the list.
PAGE_RUNS = 20
#: When somebody asks for figures older than this, they are read again …
PERIOD_SECONDS = 1.0
#: … or older than this, if the run is done.
ENDED_PERIOD_SECONDS = 10.0
#: After a reading that took long, the pause is so many times longer: long runs have many rows.
IDLE_SHARE = 20
#: A run is forgotten when nobody asked for it in this time.
FORGET_SECONDS = 60.0
#: Readings at the same time; the ledger has as many connections.
THREADS = 4
#: Pairs of runs whose comparison is kept.
MAX_PAIRS = 20
#: Trends are those of so many latest runs.
TREND_RUNS = 50

T = TypeVar("T")


class Shared(Generic[T]):
    """A reading that all callers share. It is renewed when it is old, never twice at a time."""

    def __init__(
        self,
        read: Callable[[], T],
        pool: ThreadPoolExecutor,
        clock: Clock = MACHINE_CLOCK,
        period: float | None = None,
    ) -> None:
        self._read = read
        self._pool = pool
        self._clock = clock
        self._task: asyncio.Task[T] | None = None
        self._due_at = 0.0
        #: A reading is good for at least so long.
        self.period = PERIOD_SECONDS if period is None else period

    async def get(self) -> T:
        """The latest reading, or the error that it ended in."""
        if self._task is None or (self._task.done() and self._clock.monotonic() >= self._due_at):
            self._task = asyncio.ensure_future(self._renew())
        # A caller that is cancelled must not cancel the reading of the others.
        return await asyncio.shield(self._task)

    def expire(self) -> None:
        """The next caller gets a new reading."""
        self._due_at = 0.0

    async def _renew(self) -> T:
        started_at = self._clock.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read)
        finally:
            ended_at = self._clock.monotonic()
            rest = (ended_at - started_at) * IDLE_SHARE
            self._due_at = started_at + max(self.period, rest)


class Watch:
    """One run, for all browsers that show it."""

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        pool: ThreadPoolExecutor,
        clock: Clock,
        outcomes: Outcomes,
    ) -> None:
        self._run = run
        self._clock = clock
        self._pool = pool
        self._outcomes = outcomes
        self._reading = Shared(Reader(ledger, run, clock=clock).read, pool, clock)
        self._timeline = Shared(History(ledger, run, BINS).read, pool, clock)
        self._foretold = Shared(partial(foretold, ledger, run, BINS), pool, clock)
        self._foretold.period = ENDED_PERIOD_SECONDS
        self._asked_at = clock.monotonic()

    async def show(self) -> dict[str, Any]:
        """The run as the page wants it."""
        self._asked_at = self._clock.monotonic()
        reading = await self._reading.get()
        timeline = await self._timeline.get()
        period = ENDED_PERIOD_SECONDS if reading.progress.done else PERIOD_SECONDS
        self._reading.period = self._timeline.period = period
        outcome = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._outcomes.of, reading.progress
        )
        return run_json(self._run, reading, timeline, outcome, await self._foretold.get())

    def expire(self) -> None:
        """Something has changed: read it again."""
        self._reading.expire()

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody asked for it in a while."""
        return self._clock.monotonic() - self._asked_at >= FORGET_SECONDS


class Board:
    """Everything the pages show. Use it in the thread of the event loop."""

    def __init__(
        self, ledger: Ledger, clock: Clock = MACHINE_CLOCK, settings: Settings | None = None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._settings = settings or Settings()
        self._outcomes = Outcomes(ledger, clock)
        self._liveness = Liveness()
        self._one_at_a_time = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="dashboard")
        self._pages: dict[int | None, Shared[dict[str, Any]]] = {}
        self._watches: dict[int, Watch] = {}
        self._pairs: dict[tuple[int, int], Shared[dict[str, Any]]] = {}
        self._trends = Shared(self._read_trends, self._pool, clock)
        #: Of runs that are done, so it does not change.
        self._ended: dict[int, dict[str, Any]] = {}

    async def runs(self, before: int | None = None) -> dict[str, Any]:
        """A page of the list, newest first.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        page = self._pages.get(before)
        if page is None:
            # Only one page of older runs is kept: they are cheap to read and rarely shown.
            self._pages = {None: self._pages[None]} if None in self._pages else {}
            page = Shared(partial(self._read_page, before), self._pool, self._clock)
            self._pages[before] = page
        return await page.get()

    async def run(self, run_id: int) -> dict[str, Any]:
        """One run, live.

        Raises:
            UnknownRunError: there is none of that number.
            LedgerUnavailableError: the ledger can't be reached.
        """
        self._forget()
        watch = self._watches.get(run_id)
        if watch is None:
            run = await self._do(partial(self._ledger.run, run_id))
            watch = self._watches.setdefault(
                run_id, Watch(self._ledger, run, self._pool, self._clock, self._outcomes)
            )
        return await watch.show()

    async def has(self, run_id: int) -> bool:
        """Whether there is a run of that number.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
            DamagedLedgerError: the run can't be read.
        """
        try:
            await self.find(run_id)
        except UnknownRunError:
            return False
        return True

    async def find(self, run_id: int) -> Run:
        """The run of that number.

        Raises:
            UnknownRunError: there is none.
            LedgerUnavailableError: the ledger can't be reached.
        """
        return await self._do(partial(self._ledger.run, run_id))

    async def comparison(self, first: int, second: int) -> dict[str, Any]:
        """Two runs beside each other.

        Raises:
            UnknownRunError: there is none of one of these numbers.
            LedgerUnavailableError: the ledger can't be reached.
        """
        pair = (first, second)
        if pair not in self._pairs:
            while len(self._pairs) >= MAX_PAIRS:
                del self._pairs[next(iter(self._pairs))]
            read = partial(self._compare, first, second)
            self._pairs[pair] = Shared(read, self._pool, self._clock, ENDED_PERIOD_SECONDS)
        return await self._pairs[pair].get()

    async def trends(self) -> dict[str, Any]:
        """How the latest runs that are done went, oldest first.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        return await self._trends.get()

    async def steer(self, run_id: int, wanted: Control) -> dict[str, Any]:
        """Pause, continue or cancel a run, as the commands do.

        Raises:
            PipelineError: the run has ended, or was cancelled, or there is none.
        """
        said = await self._do(partial(self._steer, run_id, wanted))
        if run_id in self._watches:
            self._watches[run_id].expire()
        return {"said": said}

    async def report(self, run_id: int, kind: str) -> str:
        """The report of a run as html, json or csv, as the command makes it.

        Raises:
            UnknownRunError: there is none of that number.
            LedgerUnavailableError: the ledger can't be reached.
        """
        return await self._do(partial(self._report, run_id, kind))

    def close(self) -> None:
        """Stop reading."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _steer(self, run_id: int, wanted: Control) -> str:
        return steer(self._ledger, self._ledger.run(run_id), wanted)

    def _report(self, run_id: int, kind: str) -> str:
        run = self._ledger.run(run_id)
        return KINDS[kind](make_report(self._settings, self._ledger, run))

    def _compare(self, first: int, second: int) -> dict[str, Any]:
        sides = (
            read_side(self._ledger.run(run_id), self._ledger, self._clock, BINS)
            for run_id in (first, second)
        )
        return comparison_json(*sides)

    def _read_trends(self) -> dict[str, Any]:
        done = [totals.run for totals in self._ledger.totals(TREND_RUNS) if totals.done]
        self._ended = {run.id: self._ended.get(run.id) or self._trend(run) for run in done}
        return {"runs": [self._ended[run.id] for run in reversed(done)]}

    def _trend(self, run: Run) -> dict[str, Any]:
        reader = Reader(self._ledger, run, clock=self._clock, counters_only=True)
        return trend_json(run, reader.read().progress)

    def _read_page(self, before: int | None) -> dict[str, Any]:
        # One more than is shown tells whether there are older ones.
        page = self._ledger.page(PAGE_RUNS + 1, before)
        online = self._online()
        numbers = [totals.run.id for totals in page.runs] + [one.run for one in page.unreadable]
        shown = sorted(numbers, reverse=True)[:PAGE_RUNS]
        rows = [
            self._row(totals, online, latest=before is None)
            for totals in page.runs
            if totals.run.id in shown
        ]
        rows += [unreadable_json(one) for one in page.unreadable if one.run in shown]
        return {
            "runs": sorted(rows, key=itemgetter("run"), reverse=True),
            "older": shown[-1] if len(numbers) > PAGE_RUNS else None,
        }

    def _row(
        self, totals: RunTotals, online: tuple[WorkerRow, ...] | None, latest: bool
    ) -> dict[str, Any]:
        nobody_online = online is not None and not online
        state = state_of(totals, clock_of(totals.run, self._clock).wall(), nobody_online)
        outcome = self._outcomes.listed(totals, state, audited=latest)
        if state is not RunState.STALLED or online is None:
            return totals_json(totals, outcome)
        return totals_json(totals, outcome, unattended(self._ledger.snapshot(totals.run), online))

    def _online(self) -> tuple[WorkerRow, ...] | None:
        """The workers that are; None while that is not known."""
        try:
            present = self._ledger.workers()
        except DamagedLedgerError:
            return None
        with self._one_at_a_time:
            now = self._clock.monotonic()
            online = self._liveness.observe(now, present)
            return online if self._liveness.is_decided(now, present) else None

    def _forget(self) -> None:
        self._watches = {
            number: watch for number, watch in self._watches.items() if not watch.is_forgotten
        }
