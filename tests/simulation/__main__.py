"""`make simulate`: plays seeds, shrinks those that fail, records what came of it."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

import click

from tests.chaos import digest
from tests.chaos import report as matrix
from tests.simulation import report
from tests.simulation.mistakes import MISTAKES, planted
from tests.simulation.report import Found, Tally
from tests.simulation.run import Outcome, play
from tests.simulation.shrink import story

#: Seeds that a process plays before it tells of them, and those that make one line of results.
_PORTION, _LINE = 100, 5_000
#: Seeds in which a planted mistake must be found.
MOST_SEEDS = 2_000


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=1_000, help="How many to play.")
@click.option("--first", type=click.IntRange(0), default=0, help="The first of them.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes at once.")
@click.option(
    "--seed", type=click.IntRange(0), help="Play this one only, and shrink it if it fails."
)
@click.option(
    "--mistake", type=click.Choice(list(MISTAKES)), help="Plant it first; nothing is recorded."
)
@click.option("--mistakes", is_flag=True, help="Look for each planted mistake, and record that.")
@click.option("--record/--no-record", default=True, help="Add to benchmarks/results and the page.")
def main(
    seeds: int,
    first: int,
    jobs: int,
    seed: int | None,
    mistake: str | None,
    mistakes: bool,
    record: bool,
) -> None:
    """Play the pipeline under faults, in virtual time."""
    with planted(mistake) if mistake else nullcontext():
        if mistakes:
            failed = _look_for_mistakes(record)
        elif seed is not None:
            failed = _tell(play(seed))
        elif mistake:
            failed = any(_tell(play(one), quiet=True) for one in range(first, first + seeds))
        else:
            failed = _play_all(first, seeds, jobs, record)
    sys.exit(1 if failed else 0)


def _tell(outcome: Outcome, quiet: bool = False) -> bool:
    """Say what came of a seed; whether it failed."""
    if outcome.problems:
        for line in story(outcome):
            click.echo(line)
        click.echo(f"again: make simulate SEED={outcome.seed}")
        return True
    if not quiet:
        click.echo(f"seed {outcome.seed}: proven, after {len(outcome.fired)} faults")
    return False


def _play_all(first: int, seeds: int, jobs: int, record: bool) -> bool:
    source, machine = matrix.source_digest(), matrix.machine()
    whole, line = Tally(first), Tally(first, source, machine)
    try:
        for portion in _portions(first, seeds, jobs):
            whole.include(portion)
            line.include(portion)
            for seed in portion.failed:
                _tell(play(int(seed)))
            click.echo(
                f"{whole.seeds:,} of {seeds:,} runs, {len(whole.failed)} failed, "
                f"{whole.faults:,} faults, {whole.cpu_seconds:.0f} s of CPU"
            )
            if record and line.seeds >= _LINE:
                report.keep(line)
                line = Tally(line.first + line.seeds, source, machine)
    except KeyboardInterrupt:
        click.echo("interrupted")
    if record and line.seeds:
        report.keep(line)
    if record:
        write_pages()
    return bool(whole.failed)


def write_pages() -> None:
    """Tell of what is recorded."""
    matrix.write(matrix.read(matrix.RESULTS), digest.PAGE)


def _portions(first: int, seeds: int, jobs: int) -> Iterator[Tally]:
    ranges = [
        range(start, min(start + _PORTION, first + seeds))
        for start in range(first, first + seeds, _PORTION)
    ]
    if jobs == 1:
        _spare_the_collector()
        yield from (_play_portion(one) for one in ranges)
        return
    pool = ProcessPoolExecutor(jobs, initializer=_spare_the_collector)
    try:
        yield from pool.map(_play_portion, ranges)
    finally:
        # Who presses Ctrl-C does not wait for what is queued.
        pool.shutdown(cancel_futures=True)


def _play_portion(seeds: range) -> Tally:
    start, tally = time.process_time(), Tally(first=seeds.start)
    for seed in seeds:
        tally.add(play(seed))
    tally.cpu_seconds = time.process_time() - start
    return tally


def _spare_the_collector() -> None:
    """A third of the time went into looking for garbage among what lives as long as the process."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _look_for_mistakes(record: bool) -> bool:
    _spare_the_collector()
    found: dict[str, int | None] = {}
    for name in MISTAKES:
        with planted(name):
            found[name] = next((one for one in range(MOST_SEEDS) if play(one).problems), None)
        click.echo(f"{found[name]}: {name}")
    if record:
        report.keep(Found(matrix.source_digest(), found, MOST_SEEDS))
        write_pages()
    return None in found.values()


if __name__ == "__main__":
    main()
