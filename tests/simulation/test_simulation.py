"""Simulated runs: whatever happens, each message has one fate, and every run ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.simulation import __main__ as command
from tests.simulation import report
from tests.simulation.chance import Fault, Fired, Place, Step
from tests.simulation.mistakes import MISTAKES, planted
from tests.simulation.run import Outcome, play
from tests.simulation.shrink import fewest, story

SEEDS, PORTION = 500, 25
#: A mistake that is found soon.
FOREIGN = "A batch of another ledger is acknowledged"


@pytest.mark.parametrize("first", range(0, SEEDS, PORTION))
def test_no_fault_breaks_the_promise(first: int) -> None:
    outcomes = [play(seed) for seed in range(first, first + PORTION)]
    failed = [outcome for outcome in outcomes if outcome.problems]
    assert not failed, "\n".join(story(failed[0]))
    assert any(outcome.fired for outcome in outcomes)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistake_is_found(name: str) -> None:
    # The seed that found it before comes first; the code may have changed since.
    before = [seed for mistake, seed in found_before().items() if mistake == name]
    with planted(name):
        assert any(play(seed).problems for seed in (*before, *range(command.MOST_SEEDS)))


def test_seeds_that_found_a_mistake_find_nothing_without_it() -> None:
    seeds = sorted(set(found_before().values()))
    assert [problem for seed in seeds for problem in play(seed).problems] == []


def found_before() -> dict[str, int]:
    """Which seed found which mistake when that was recorded last."""
    _, found = report.read()
    known = found.mistakes if found else {}
    return {name: seed for name, seed in known.items() if seed is not None}


def steps_of(seed: int) -> list[tuple[float, Step]]:
    steps: list[tuple[float, Step]] = []
    play(seed, tell=lambda now, step: steps.append((now, step)))
    return steps


def test_seed_replays_exactly_whatever_was_played_before() -> None:
    first = steps_of(8)
    play(9)
    assert steps_of(8) == first
    assert steps_of(9) != first


def test_only_the_faults_that_are_kept_happen() -> None:
    outcome = next(one for one in map(play, range(100)) if len(one.fired) > 4)
    some = [one.place for one in outcome.fired[:2]]
    assert {one.place for one in play(outcome.seed, some).fired} <= set(some)
    assert play(outcome.seed, []).fired == []


def test_every_kind_of_fault_has_struck() -> None:
    # With a few hundred runs on record; each of them draws half of the kinds.
    tallies, _ = report.read()
    assert tallies
    struck = {fault for one in tallies for row in one.coverage.values() for fault in row}
    assert {fault.value for fault in Fault} <= struck


# Shrinking


def fired(*numbers: int) -> list[Fired]:
    return [Fired(Place("worker-1", number), "settle", Fault.FAILS) for number in numbers]


@pytest.mark.parametrize("needed", [{3}, {0, 7}, {1, 2, 6}, set()])
def test_no_fault_is_kept_that_is_not_needed(needed: set[int]) -> None:
    kept = fewest(fired(*range(8)), lambda places: needed <= {one.number for one in places})
    assert {one.number for one in kept} == needed


def test_failure_is_told_in_few_lines() -> None:
    with planted(FOREIGN):
        outcome = next(one for one in map(play, range(200)) if one.problems)
        lines = list(story(outcome))
    assert lines[0].startswith(f"seed {outcome.seed} fails: ")
    assert f"  world: the world: {Fault.FOREIGN_WORKER}" in lines
    assert any("acknowledge" in line for line in lines)
    assert "is lost, and no fault explains that" in lines[-1]
    assert len(lines) < 100


# The command


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(command.main, arguments)


def test_one_seed_is_told_of() -> None:
    result = simulate("--seed", "12")
    assert result.exit_code == 0
    assert result.output.startswith("seed 12: proven, after ")


def test_failing_seed_is_told_with_the_command_that_plays_it_again() -> None:
    result = simulate("--mistake", FOREIGN, "--seeds", "300")
    assert result.exit_code == 1
    assert "is lost, and no fault explains that" in result.output
    assert "again: make simulate SEED=" in result.output


@pytest.mark.parametrize("option", ["--seeds", "--jobs", "--seed", "--first", "--mistake"])
@pytest.mark.parametrize("value", ["-1", "many", ""])
def test_what_makes_no_sense_is_refused(option: str, value: str) -> None:
    result = simulate(option, value)
    assert result.exit_code == 2
    assert option in result.output


# The record


def test_sums_of_portions_are_those_of_the_whole(tmp_path: Path) -> None:
    outcomes = [
        Outcome(seed, ["lost"] * (seed == 1), fired(*range(seed)), seen, 100, seed, 2.0)
        for seed, seen in enumerate(
            (Counter({("settle", ""): 3}), Counter({("settle", "fails"): 1, ("play", ""): 1}))
        )
    ]
    whole = report.Tally(0, "ours", "here")
    for outcome in outcomes:
        portion = report.Tally(outcome.seed)
        portion.add(outcome)
        whole.include(portion)
    assert (whole.seeds, whole.messages, whole.sent_twice, whole.faults) == (2, 200, 1, 1)
    assert whole.coverage == {"settle": {"": 3, "fails": 1}, "play": {"": 1}}
    assert whole.failed == {"1": ["lost"]}

    # And so the page has them, of each version apart
    file = tmp_path / "results.jsonl"
    report.keep(whole, file)
    report.keep(whole, file)
    report.keep(report.Found("ours", {"a mistake": 4, "another": None}, 2_000), file)
    page = report.text(file)
    assert "| ours | here | 4 | 1 | 400 | 2 | 2 | 0 |" in page
    assert "| settle | 8 | fails: 2 |" in page
    assert "| a mistake | 5 |" in page
    assert "| another | not in 2,000 |" in page
    assert "Seed 1 of ours failed: lost" in page


def test_page_says_nothing_where_nothing_is_recorded(tmp_path: Path) -> None:
    assert report.text(tmp_path / "none.jsonl") == ""
