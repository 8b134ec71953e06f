"""The fault matrix: case x seed. After every fault, each message has exactly one fate."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.chaos import report
from tests.chaos.cases import CASES, Case
from tests.chaos.scenario import ROOT, Scenario

#: Only a broken test needs it: a scenario gives up by itself when nothing moves.
TIMEOUT_SECONDS = 900

#: Where the logs of failed scenarios are kept, unless CHAOS_KEEP names another folder.
KEPT = Path(os.environ.get("CHAOS_KEEP", ROOT / ".chaos"))


def _seeds() -> Iterable[int]:
    """SEED=7: that one. SEEDS=20: 1 to 20. Neither: 1."""
    if seed := os.environ.get("SEED"):
        return [int(seed)]
    return range(1, int(os.environ.get("SEEDS") or 1) + 1)


def _matrix() -> Iterator[ParameterSet]:
    """All cases with the first seed, then all with the next."""
    for seed in _seeds():
        for case in CASES:
            marks = [pytest.mark.ci] * case.ci
            yield pytest.param(case, seed, id=f"{case.name}-seed{seed}", marks=marks)


@pytest.mark.chaos
@pytest.mark.timeout(TIMEOUT_SECONDS)
@pytest.mark.parametrize(("case", "seed"), list(_matrix()))
def test_every_message_has_exactly_one_fate(
    case: Case, seed: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    print(f"{case.name}, seed {seed}: {case.setting.describe()}, {case.setting.load}")
    with _scenario(case, seed, request, tmp_path) as scenario:
        try:
            case.fault.strike(scenario)
            result = scenario.finish()
        except Exception as error:
            report.record(report.Line.of_failure(case, seed, str(error)))
            raise AssertionError(_message(case, seed, scenario, str(error))) from error
        report.record(report.Line.of(case, seed, result))
        if result.problems:
            problems = "\n".join(result.problems)
            pytest.fail(_message(case, seed, scenario, problems), pytrace=False)


def _scenario(case: Case, seed: int, request: pytest.FixtureRequest, folder: Path) -> Scenario:
    nursery = request.getfixturevalue("nursery")
    scenario = Scenario(case.setting, seed, folder, f"sqlite:///{folder / 'ledger.db'}", nursery)
    if not case.fault.is_embedded:
        scenario.broker_url = request.getfixturevalue("broker_url")
        scenario.node = request.getfixturevalue("rabbitmq")
    if case.setting.database == "postgresql":
        scenario.database_url = request.getfixturevalue("postgres_url")
        scenario.postgres = request.getfixturevalue("postgres")
    return scenario


def _message(case: Case, seed: int, scenario: Scenario, problems: str) -> str:
    """What went wrong, where the logs are, how to see it again."""
    kept = KEPT / f"{case.name}-seed{seed}-{uuid.uuid4().hex[:6]}"
    shutil.copytree(scenario.folder, kept)
    if scenario.node is not None:
        shutil.copytree(scenario.node.folder / "log", kept / "rabbitmq", dirs_exist_ok=True)
    return (
        f"{case.name}, seed {seed}:\n{problems}\n"
        f"logs: {kept}\n"
        f"again: make chaos SEED={seed} ARGS='-k {case.name}-seed{seed}'"
    )
