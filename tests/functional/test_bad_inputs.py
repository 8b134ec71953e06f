"""Whatever a user gets wrong: one line that names it, exit code 2, and no traceback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sms_pipeline.ledger.store import Ledger
from tests.functional.bad_inputs import (
    LEDGER,
    LOG,
    MODELS,
    PEOPLE,
    BadInput,
    bad_inputs,
    is_number,
    kinds_of,
    without_wrong_values,
)
from tests.functional.terminal import CELERY, PIPELINE, Terminal
from tests.functional.warm import HUNG, Warm
from tests.unit import make

#: So many there are at least.
LEAST = 600
CASES = bad_inputs()
LOG_LINES = "sent,ended,status,profile\n" + "".join(
    f"{second},{second + 1},delivered,fast\n" for second in range(1_700_000_000, 1_700_000_100)
)
#: Started as processes of their own, too.
SAMPLE = CASES[::120]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with two runs that are done."""
    path = tmp_path_factory.mktemp("ledger") / LEDGER
    ledger = Ledger.open(f"sqlite:///{path}")
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.settlement(run.id, delivery_times={80: 10})])
    ledger.close()
    return path


def furnish(folder: Path, template: Path, case: BadInput) -> None:
    """Lay out what the command finds."""
    shutil.copy(template, folder / LEDGER)
    (folder / LOG).write_text(LOG_LINES)
    (folder / PEOPLE).write_text("to\n2025550100\n")
    if case.prepare:
        case.prepare(folder)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_it_is_one_line_that_names_what_is_wrong(
    warm: Warm, template: Path, tmp_path: Path, case: BadInput
) -> None:
    furnish(tmp_path, template, case)
    code, out, err = warm.run(tmp_path, case.arguments, case.variables, case.program)
    assert code != HUNG
    assert "Traceback" not in out + err, err
    assert code in case.codes, (out, err)
    lines = err.splitlines()
    assert 1 <= len(lines) <= case.lines, err
    assert lines[0].startswith("Error: "), err
    assert any(word in err for word in case.says), err
    assert all(line.isprintable() for line in lines), err
    assert out == ""
    assert "secret" not in err


@pytest.mark.parametrize("case", SAMPLE, ids=[case.name for case in SAMPLE])
def test_a_process_of_its_own_says_the_same(
    warm: Warm, template: Path, tmp_path: Path, case: BadInput
) -> None:
    results = []
    for name in ("warm", "cold"):
        folder = tmp_path / name
        folder.mkdir()
        furnish(folder, template, case)
        if name == "warm":
            results.append(warm.run(folder, case.arguments, case.variables, case.program))
        else:
            program = CELERY[:-2] if case.program == "celery" else PIPELINE
            started = Terminal(folder).start(*case.arguments, program=program, **case.variables)
            results.append(started.wait())
    assert results[0] == results[1]


def test_every_option_has_wrong_values() -> None:
    assert without_wrong_values() == set()


def test_there_are_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= LEAST


def test_every_number_of_a_configuration_has_two_bounds() -> None:
    for model in MODELS:
        for key, info in model.model_fields.items():
            if is_number(info):
                bounds = next(iter(kinds_of(info).values()))
                kinds = {type(bound).__name__[:1] for bound in bounds}
                assert kinds >= {"G", "L"}, key
