"""What this machine allows, and what it means."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sms_pipeline.cli.doctor import machine_probes as probes
from sms_pipeline.cli.doctor import machine_verdicts as verdicts
from sms_pipeline.cli.doctor.check import State

WANTED = verdicts.WANTED_FILES


@pytest.fixture
def few_files() -> Iterator[None]:
    """This process may open fewer files than a worker needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_files_are_opened_and_closed_again() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert probes.openable_files(WANTED) == WANTED
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_too_few_files(few_files: None) -> None:
    assert probes.openable_files(WANTED) < WANTED


def test_threads_are_started_and_ended_again() -> None:
    before = threading.active_count()
    assert probes.startable_threads(20) == 20
    assert threading.active_count() == before


def test_too_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(self: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(self)
        real(self)

    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    assert probes.startable_threads(20) == 3


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("50000 100000\n", None, 0.5),
        ("max 100000\n", None, float("inf")),
        (None, ("25000", "100000"), 0.25),
        (None, ("-1", "100000"), float("inf")),
        (None, None, float("inf")),
    ],
)
def test_the_quota_of_a_container(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new: str | None,
    old: tuple[str, str] | None,
    expected: float,
) -> None:
    files = {name: tmp_path / name for name in ("_QUOTA", "_OLD_QUOTA", "_OLD_PERIOD")}
    for name, file in files.items():
        monkeypatch.setattr(probes, name, file)
    if new:
        files["_QUOTA"].write_text(new)
    if old:
        files["_OLD_QUOTA"].write_text(old[0])
        files["_OLD_PERIOD"].write_text(old[1])
    assert probes.cores() == min(expected, probes.usable_cores())


@pytest.mark.parametrize(("opened", "state"), [(WANTED, State.OK), (WANTED - 1, State.FAULT)])
def test_files(opened: int, state: State) -> None:
    assert verdicts.files(opened).state is state


@pytest.mark.parametrize(("started", "state"), [(50, State.OK), (49, State.FAULT)])
def test_threads(started: int, state: State) -> None:
    assert verdicts.threads(started, 50).state is state


@pytest.mark.parametrize(("number", "state"), [(1, State.OK), (0.5, State.WARNING)])
def test_cores(number: float, state: State) -> None:
    assert verdicts.cores(number).state is state


@pytest.mark.parametrize(
    ("changes", "version", "elsewhere", "state", "word"),
    [
        ({}, "5.7.3", {}, State.OK, "5.7.3"),
        ({"task_acks_late": False}, "5.7.3", {}, State.FAULT, "task_acks_late"),
        ({}, "5.8.0", {}, State.WARNING, "5.8.0"),
        ({}, "5.7.3", {"CELERY_BROKER_READ_URL": "amqp://u:secret@h"}, State.FAULT, "READ_URL"),
    ],
)
def test_celery(
    changes: dict[str, object],
    version: str,
    elsewhere: dict[str, str],
    state: State,
    word: str,
) -> None:
    check = verdicts.celery({**verdicts.SETTINGS, **changes}, version, elsewhere)
    assert check.state is state
    assert word in check.finding
    assert "secret" not in f"{check.finding}{check.remedy}"
