"""The clock of a machine is set while a run is on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

#: Only a failure waits so long.
PATIENCE_SECONDS = 60.0
STEP_SECONDS = 120
#: Less than the step: whoever measured it by the clock that is set would be late, or never.
DEADLINE_SECONDS = 60.0
TOTAL = 2_000

#: Loaded by every Python that starts with it on its path: the machine's clock, as far as Python can
#: see it, is off by what the file says.
SITE = """
import time
from pathlib import Path

_real = time.time
_off = Path(__file__).with_name("off")
time.time = lambda: _real() + float(_off.read_text())
"""


class Machine:
    """Processes whose wall clock can be set."""

    def __init__(self, folder: Path) -> None:
        """Not set yet."""
        self.environment = {"PYTHONPATH": str(folder)}
        (folder / "sitecustomize.py").write_text(SITE)
        self._off = folder / "off"
        self.set_clock(0)

    def set_clock(self, seconds: int) -> None:
        """By so many seconds from the true time."""
        new = self._off.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        # At once: a process may read it at the same moment.
        new.replace(self._off)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Its clock is right."""
    (folder := tmp_path / "machine").mkdir()
    return Machine(folder)


@pytest.mark.parametrize("step", [-STEP_SECONDS, STEP_SECONDS], ids=["back", "forward"])
def test_nothing_expires_because_the_clock_is_set(
    shared_terminal: Terminal,
    database_url: str,
    machine: Machine,
    start_worker: Callable[..., WorkerProcess],
    step: int,
) -> None:
    # Given a worker in the middle of a run with a deadline
    shared_terminal.environment.update(machine.environment)
    shared_terminal.configure(
        num_messages=TOTAL,
        deadline=DEADLINE_SECONDS,
        retry={"backoff": 1, "backoff_max": 1},
        senders=[{"name": "fast", "count": 20, "mean_time": 0.05, "failure_rate": 0.1}],
    )
    first = start_worker("fast", shared_terminal.environment)
    producer = shared_terminal.start("produce")
    wait_until(lambda: checker.finished(database_url, 1), PATIENCE_SECONDS, "some are settled")

    # When the clock of their machine is set, and another worker and another run start after that
    machine.set_clock(step)
    second = start_worker("fast", shared_terminal.environment)
    assert producer.wait().code == 0
    assert shared_terminal.run("produce").code == 0

    # Then no message expires, and none is delivered before it was dispatched
    for run in (1, 2):
        wait_until(
            lambda run=run: checker.finished(database_url, run) == TOTAL,
            PATIENCE_SECONDS,
            "all are settled",
        )
        checker.assert_counted_once(database_url, run, TOTAL)
        settled = checker.rows(database_url, "settlements", run)
        assert sum(row["expired"] for row in settled) == 0
        assert len({row["worker"] for row in settled}) == 2
        queued = {
            row["number"]: row["queued_at"] for row in checker.rows(database_url, "batches", run)
        }
        waits = [row["settled_at"] - queued[row["batch"]] for row in settled]
        assert min(waits) > 0
        assert max(waits) < DEADLINE_SECONDS

    # And who was there when it was set has said so, once
    way = "back" if step < 0 else "forward"
    said = f"the clock of this machine was set {way} by {STEP_SECONDS} s"
    assert first.logs().count(said) == 1
    assert said not in second.logs()
