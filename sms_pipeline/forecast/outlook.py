"""A forecast: many simulated runs of one configuration, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from sms_pipeline.core.progress import Progress
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Judgement, State
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.caps import PassedCap, passed_caps
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.forecast.rehearsal import Course, Mark, rehearse
from sms_pipeline.forecast.setting import Setting, exact_setting
from sms_pipeline.forecast.stretch import rate_of, stretched
from sms_pipeline.forecast.thinning import Budget, thin
from sms_pipeline.forecast.whole import progress_of, with_tail

#: Shares of the messages whose times are told.
SHARES = (0.5, 0.9, 0.99)
#: A new simulated run ends within the range of so many others in 19 of 21 cases.
RUNS = 20
#: The seed of the first, unless there is another one.
FIRST_SEED = 1
#: A threshold must hold in this share of the simulated runs.
SURE = 0.9
#: What is simulated in each of `RUNS` runs, whose ends tell the range …
ROUGH = Budget(messages=60_000, batches=450)
#: … and in each of a few runs that tell all else.
FINE = Budget(messages=600_000, batches=3_000)
FEW_RUNS = 3
#: Where one of these differs by more than `CLOSE`, or is coarse itself, a single one tells instead.
FINEST = Budget(messages=1_000_000, batches=4_500)
CLOSE = 0.03
#: An error in inverse proportion to the batches falls so many times as much in all steps to come as
#: it did in that one.
_TO_COME = FINE.batches / (FINEST.batches - FINE.batches)
#: Without thinning so many messages are simulated in all, but never in less than a few runs.
_EXACT_MESSAGES = 20_000_000
#: Of its time; a machine that is busier than that decides how long a run takes …
NEAR_CEILING = 0.7
#: … and is never quite as fast as it was when it was measured.
UNSURE = 0.15
#: Elsewhere real runs are off by so much: the middle of the settings of benchmarks/forecast.py.
_USUALLY_OFF = 0.01
#: Thinning is not trusted beyond this, whatever the comparison says.
_LEAST_ERROR = 0.002


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds: the least, the middle one and the greatest of what was seen."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(min(values), median(values), max(values))


@dataclass(frozen=True, slots=True)
class CheckOutlook:
    """What will become of a threshold."""

    #: Of the middle run, with the state that the whole forecast gives it.
    judgement: Judgement
    #: In so many runs it held …
    held: int
    #: … of so many.
    runs: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run will be like."""

    simulation: Simulation
    #: Worker processes of each profile; None: all in one process.
    workers: int | None
    #: How many runs tell when it ends.
    runs: int
    #: The run whose end is in the middle, as if it were done.
    progress: Progress
    #: What that run settled; one message may stand for many.
    marks: tuple[Mark, ...]
    end: Spread
    #: By share; None where not all runs reached it.
    reached: dict[float, Spread | None]
    thresholds: tuple[CheckOutlook, ...]
    #: By how much times may be off because not every message was simulated, 0 to 1; None if every
    #: one was.
    error: float | None
    #: When each of the runs ends that tell the range; empty with `exact`.
    ends: tuple[float, ...] = ()
    #: How busy the busiest process is, 0 to 1, until 90 % have ended.
    load: float = 0.0
    #: Daily caps that the run will pass.
    caps: tuple[PassedCap, ...] = ()

    @property
    def missed(self) -> tuple[CheckOutlook, ...]:
        """Thresholds that will not hold, or not for sure."""
        return tuple(one for one in self.thresholds if one.judgement.state is State.MISSED)


@dataclass(frozen=True, slots=True)
class Runs:
    """Simulated runs of one setting, in order of their ends."""

    setting: Setting
    simulation: Simulation
    courses: tuple[Course, ...]

    @property
    def middle(self) -> Course:
        """The one whose end is in the middle."""
        return self.courses[len(self.courses) // 2]

    @property
    def ends(self) -> list[float]:
        """When each ends, seconds."""
        return [course.seconds for course in self.courses]

    def reached(self, share: float) -> Spread | None:
        """When `share` was reached; None if not every run came to it."""
        seconds = [at for one in self.courses if (at := one.reached_after(share)) is not None]
        return Spread.of(seconds) if len(seconds) == len(self.courses) else None

    def and_those_of(self, others: Runs) -> Runs:
        """These and other runs of the same setting."""
        return _ordered(self.setting, self.simulation, (*self.courses, *others.courses))

    def progress(self, course: Course) -> Progress:
        """One of them as a view would show it."""
        return progress_of(course, self.setting, self.simulation)


def play(setting: Setting, simulation: Simulation, seed: int, runs: int) -> Runs:
    """Simulate runs with seeds that follow `seed`; what was left out of them is put back in."""
    courses = [rehearse(setting, seed + number) for number in range(runs)]
    if setting.left_out:
        rate = fmean(rate_of(course) for course in courses)
        courses = [stretched(course, setting.left_out, rate) for course in courses]
    if setting.factor > 1:
        courses = [with_tail(course, simulation) for course in courses]
    return _ordered(setting, simulation, courses)


def _ordered(setting: Setting, simulation: Simulation, courses: Iterable[Course]) -> Runs:
    return Runs(setting, simulation, tuple(sorted(courses, key=lambda course: course.seconds)))


def look_ahead(
    simulation: Simulation,
    workers: int | None = None,
    seed: int = FIRST_SEED,
    exact: bool = False,
    costs: Costs = COSTS,
) -> Outlook:
    """Forecast a run.

    Args:
        simulation: what to rehearse.
        workers: processes of each profile, on RabbitMQ; None: one process, as `run` has it.
        seed: the first simulated run has this one, the others those that follow.
        exact: simulate every message, however long that takes.
        costs: what the machine takes.
    """
    whole = exact_setting(simulation, workers, costs)
    if exact:
        runs = min(RUNS, max(FEW_RUNS, _EXACT_MESSAGES // simulation.num_messages))
        return _sure(_outlook(play(whole, simulation, seed, runs), workers))
    rough = play(thin(whole, ROUGH), simulation, seed, RUNS)
    if rough.setting is whole:
        return _sure(replace(_outlook(rough, workers), ends=tuple(rough.ends)))
    fine = play(thin(whole, FINE), simulation, seed, 1)
    if fine.setting.is_coarse or _error(rough, fine) > CLOSE:
        finest = play(thin(whole, FINEST), simulation, seed, 1)
        error = _error(fine, finest) * (_TO_COME if finest.setting.is_coarse else 1)
        return _sure(_refined(rough, finest, error, workers))
    fine = fine.and_those_of(play(fine.setting, simulation, seed + 1, FEW_RUNS - 1))
    return _sure(_refined(rough, fine, _error(rough, fine), workers))


def _sure(outlook: Outlook) -> Outlook:
    """With a range that is wider by what a real run, and a thinned one, may be off."""
    off = UNSURE if outlook.load > NEAR_CEILING else _USUALLY_OFF
    off += outlook.error or 0.0
    hours, end = Hours(outlook.simulation), outlook.end
    wider = Spread(hours.longer(end.low, -off), end.middle, hours.longer(end.high, off))
    return replace(outlook, end=wider)


@dataclass(frozen=True, slots=True)
class Hours:
    """Those in which a run may send: what is off by some minutes may be off by a night besides."""

    simulation: Simulation

    def work(self, seconds: float) -> float:
        """How many of the first seconds of a run it may send."""
        window = self.simulation.window
        return seconds if window is None else window.work_in(seconds, EPOCH)

    def later(self, seconds: float, work: float) -> float:
        """When a run has come to something with so much more work, or less."""
        window, done = self.simulation.window, max(self.work(seconds) + work, 0.0)
        return done if window is None else window.seconds_for(done, EPOCH)

    def longer(self, seconds: float, share: float) -> float:
        """The same with more work by a share of it, or less."""
        return self.later(seconds, share * self.work(seconds))


def _outlook(runs: Runs, workers: int | None) -> Outlook:
    middle = runs.progress(runs.middle)
    return Outlook(
        simulation=runs.simulation,
        workers=workers,
        runs=len(runs.courses),
        progress=middle,
        marks=runs.middle.marks,
        end=Spread.of(runs.ends),
        reached={share: runs.reached(share) for share in SHARES},
        thresholds=_thresholds(runs, middle) if middle.thresholds else (),
        error=None,
        load=median(course.load for course in runs.courses),
        caps=passed_caps(runs.simulation, workers, middle),
    )


def _refined(rough: Runs, fine: Runs, error: float, workers: int | None) -> Outlook:
    """What a few runs tell, with the range of many that were thinned more."""
    outlook, hours, seen = _outlook(fine, workers), Hours(fine.simulation), Spread.of(rough.ends)
    by = hours.work(outlook.end.middle) - hours.work(seen.middle)
    end = Spread(hours.later(seen.low, by), outlook.end.middle, hours.later(seen.high, by))
    return replace(outlook, runs=len(rough.courses), ends=tuple(rough.ends), end=end, error=error)


def _error(rough: Runs, fine: Runs) -> float:
    """How much times change where much less is simulated: those told are nearer the truth."""
    hours = Hours(fine.simulation)
    pairs = [(rough.reached(share), fine.reached(share)) for share in SHARES]
    works = [(hours.work(a.middle), hours.work(b.middle)) for a, b in pairs if a and b]
    changes = [abs(a - b) / b for a, b in works if b]
    return max([*changes, _LEAST_ERROR])


def _thresholds(runs: Runs, middle: Progress) -> tuple[CheckOutlook, ...]:
    progresses = [runs.progress(course) for course in runs.courses]
    total = len(progresses)
    found = []
    for number, judgement in enumerate(middle.thresholds):
        held = sum(one.thresholds[number].state is State.PASSED for one in progresses)
        state = State.PASSED if held >= SURE * total else State.MISSED
        found.append(CheckOutlook(replace(judgement, state=state), held, total))
    return tuple(found)
