"""A forecast: many simulated runs of one configuration, and what they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from sms_pipeline.core.progress import Progress
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Judgement, State
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.forecast.rehearsal import Course, rehearse
from sms_pipeline.forecast.setting import Setting, exact_setting
from sms_pipeline.forecast.thinning import Budget, thin
from sms_pipeline.forecast.whole import progress_of, tail_seconds

#: Shares of the messages whose times are told.
SHARES = (0.5, 0.9, 0.99)
#: A new run ends within the range of so many others in 19 of 21 cases.
RUNS = 20
#: The seed of the first, unless there is another one.
FIRST_SEED = 1
#: A threshold must hold in this share of the simulated runs.
SURE = 0.9
#: What is simulated in one run.
BUDGET = Budget(messages=100_000, batches=800)
#: Without thinning, so many messages are simulated in all, but in no less than `LEAST_RUNS` runs.
_EXACT_MESSAGES = 20_000_000
LEAST_RUNS = 3
#: To tell how far thinning may be off, times are compared with those of runs that are so much
#: thinner still.
_THINNER = 4
#: Nor is it more exact than this.
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
    #: In so many runs it held.
    held: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run will be like."""

    simulation: Simulation
    #: Worker processes of each profile; None: all in one process.
    workers: int | None
    #: How many runs were simulated.
    runs: int
    #: The run whose end is in the middle, as if it were done.
    progress: Progress
    end: Spread
    #: By share; None where not all runs reached it.
    reached: dict[float, Spread | None]
    thresholds: tuple[CheckOutlook, ...]
    #: Messages that one simulated message stands for; 1: nothing was thinned.
    factor: float
    #: By how much times may be off for that, 0 to 1.
    error: float

    @property
    def missed(self) -> tuple[CheckOutlook, ...]:
        """Thresholds that will not hold, or not for sure."""
        return tuple(one for one in self.thresholds if one.judgement.state is State.MISSED)


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
        seed: the first run has this one, the others those that follow.
        exact: simulate every message, however long that takes.
        costs: what the machine takes.
    """
    whole = exact_setting(simulation, workers, costs)
    setting = whole if exact else thin(whole, BUDGET)
    runs = _runs(simulation) if exact else RUNS
    courses = sorted(
        (rehearse(setting, seed + number) for number in range(runs)),
        key=lambda course: course.seconds,
    )
    is_thinned = setting is not whole
    progresses = [progress_of(course, setting, simulation) for course in courses]
    return Outlook(
        simulation=simulation,
        workers=workers,
        runs=runs,
        progress=progresses[runs // 2],
        end=Spread.of([_end(course, simulation, is_thinned) for course in courses]),
        reached={share: _reached(courses, share) for share in SHARES},
        thresholds=_thresholds(progresses),
        factor=setting.factor,
        error=_error(whole, courses, seed) if is_thinned else 0.0,
    )


def ends_of(simulation: Simulation, workers: int | None, costs: Costs = COSTS) -> list[float]:
    """When a run ends, seconds, with each of the seeds of a forecast."""
    whole = exact_setting(simulation, workers, costs)
    setting = thin(whole, BUDGET)
    courses = [rehearse(setting, FIRST_SEED + number) for number in range(RUNS)]
    return [_end(course, simulation, setting is not whole) for course in courses]


def _runs(simulation: Simulation) -> int:
    return min(RUNS, max(LEAST_RUNS, _EXACT_MESSAGES // simulation.num_messages))


def _end(course: Course, simulation: Simulation, is_thinned: bool) -> float:
    return course.seconds + (tail_seconds(course, simulation) if is_thinned else 0.0)


def _reached(courses: Sequence[Course], share: float) -> Spread | None:
    seconds = [at for course in courses if (at := course.reached_after(share)) is not None]
    return Spread.of(seconds) if len(seconds) == len(courses) else None


def _thresholds(progresses: Sequence[Progress]) -> tuple[CheckOutlook, ...]:
    middle = progresses[len(progresses) // 2]
    found = []
    for number, judgement in enumerate(middle.thresholds):
        held = sum(one.thresholds[number].state is State.PASSED for one in progresses)
        state = State.PASSED if held >= SURE * len(progresses) else State.MISSED
        found.append(CheckOutlook(replace(judgement, state=state), held))
    return tuple(found)


def _error(whole: Setting, courses: Sequence[Course], seed: int) -> float:
    """How much the times of thinned runs change when they are thinned even more."""
    thinner = thin(whole, BUDGET.divided(_THINNER))
    rough = [rehearse(thinner, seed + number) for number in range(LEAST_RUNS)]
    pairs = [(_reached(courses, share), _reached(rough, share)) for share in SHARES]
    changes = [abs(b.middle - a.middle) / a.middle for a, b in pairs if a and b and a.middle]
    return max([*changes, _LEAST_ERROR])
