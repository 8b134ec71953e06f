"""A script that sends one SMS, with a worker in another process."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

PATIENCE_SECONDS = 60.0
SCRIPT = """
from sms_pipeline import send_sms

print(send_sms.delay("202-555-0100", "Evacuate now.").id)
"""

StartWorker = Callable[..., WorkerProcess]


def test_one_sms_of_a_script_is_delivered_and_proven(
    shared_terminal: Terminal, start_worker: StartWorker
) -> None:
    # Given a worker of the second profile
    terminal = shared_terminal
    senders = [
        {"name": "absent", "mean_time": 0, "failure_rate": 0},
        {"name": "present", "mean_time": 0, "failure_rate": 0},
    ]
    terminal.configure(senders=senders)
    start_worker("present", terminal.environment)
    # When a script sends one SMS
    result = terminal.start("-c", SCRIPT, program=(sys.executable,)).wait()
    # Then it tells the task, the worker delivers it, and the totals are proven
    assert (result.code, len(result.out.strip())) == (0, 36), result.err
    wait_until(
        lambda: terminal.run("audit", "1").code == 0, PATIENCE_SECONDS, "the audit proves it"
    )
    assert "delivered 1" in terminal.run("monitor", "1", "--once").out
    # And no output has its number, which is kept nowhere
    shown = terminal.run("trace", "1", "--message", "0").out
    assert "whose number is not kept" in shown
    assert "nothing to resume" in terminal.run("resume", "1").out
