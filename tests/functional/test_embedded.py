"""`sms-pipeline run` and friends in one process, without any server."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional import checker
from tests.functional.terminal import (
    CELERY,
    PATIENCE_SECONDS,
    PIPELINE,
    Result,
    Started,
    Terminal,
)
from tests.services.waiting import wait_until

#: What `--json` promises; fields may be added, none may go.
FIELDS = {
    "run": int,
    "total": int,
    "delivered": int,
    "failed": int,
    "failed_attempts": int,
    "seconds": float,
    "average_rate": float,
    "mean_send_seconds": float,
    "mean_delivery_seconds": float,
    "p50_delivery_seconds": float,
    "p95_delivery_seconds": float,
    "p99_delivery_seconds": float,
    "done": bool,
    "profiles": list,
}

ECHO = re.compile(
    r"^(delivered|failed|failed, to be retried): (\d{3}-\d{3}-\d{4})  ([A-Za-z0-9 .]{1,100})$", re.M
)

INSTANT = {"name": "instant", "count": 5, "mean_time": 0, "failure_rate": 0}


def ledger_of(terminal: Terminal) -> str:
    """Where a run keeps its ledger when nothing is set."""
    return f"sqlite:///{terminal.folder / 'sms_pipeline.db'}"


def flaky(failure_rate: float, mean_time: float = 0) -> dict[str, object]:
    """A profile whose only trouble is its failure rate."""
    return {"name": "flaky", "count": 5, "mean_time": mean_time, "failure_rate": failure_rate}


def assert_no_traceback(result: Result) -> None:
    """Nothing that only a programmer can read."""
    assert "Traceback" not in result.out + result.err, result.err


def test_a_thousand_messages_with_the_defaults(terminal: Terminal) -> None:
    # When the default run ends
    result = terminal.run("run", "--json")

    # Then its last line has every documented field, and every message one end
    assert result.code == 0, result.err
    summary = result.json
    assert {name: type(summary[name]) for name in FIELDS} == FIELDS
    assert len(result.out.splitlines()) == 1
    assert summary["total"] == summary["delivered"] + summary["failed"] == 1_000
    assert summary["done"] is True
    assert [profile["name"] for profile in summary["profiles"]] == ["fast", "standard", "slow"]
    assert sum(profile["delivered"] for profile in summary["profiles"]) == summary["delivered"]
    assert 0 < summary["mean_send_seconds"] < summary["mean_delivery_seconds"]
    assert_no_traceback(result)
    checker.assert_counted_once(ledger_of(terminal), summary["run"], 1_000)


def test_senders_that_need_no_time_and_never_fail(terminal: Terminal) -> None:
    terminal.configure(senders=[INSTANT, {**INSTANT, "name": "other"}], num_messages=30_000)
    result = terminal.run("run", "--json")
    assert result.code == 0, result.err
    assert (result.json["delivered"], result.json["failed_attempts"]) == (30_000, 0)
    assert result.json["mean_send_seconds"] == 0
    checker.assert_counted_once(ledger_of(terminal), 1, 30_000)


def test_echo_prints_a_line_for_each_attempt_at_an_sms(terminal: Terminal) -> None:
    terminal.configure(
        senders=[flaky(0.4)], num_messages=200, retry={"max_attempts": 2, "backoff": 0}
    )
    result = terminal.run("run", "--echo", "--seed", "1")
    assert result.code == 0, result.err
    lines = ECHO.findall(result.out)
    ends = [to for outcome, to, _ in lines if outcome != "failed, to be retried"]
    retried = [to for outcome, to, _ in lines if outcome == "failed, to be retried"]
    assert len(ends) == len(set(ends)) == 200
    assert retried
    assert set(retried) <= set(ends)


@pytest.mark.parametrize("max_attempts", ["1", "3", "unlimited"])
def test_no_message_is_tried_more_often_than_allowed(terminal: Terminal, max_attempts: str) -> None:
    terminal.configure(senders=[flaky(0.5)], num_messages=400, retry={"backoff": 0}, batch_size=100)
    result = terminal.run("run", "--json", "--max-attempts", max_attempts)
    assert result.code == 0, result.err
    checker.assert_counted_once(ledger_of(terminal), 1, 400)
    deepest = 1 + max(row["attempt"] for row in checker.rows(ledger_of(terminal), "settlements", 1))
    if max_attempts == "unlimited":
        assert result.json["delivered"] == 400
        assert deepest > 3
    else:
        assert result.json["failed"] > 0
        assert deepest == int(max_attempts)
    if max_attempts == "1":
        assert result.json["failed"] == result.json["failed_attempts"]


def test_one_message_per_task(terminal: Terminal) -> None:
    terminal.configure(senders=[flaky(0.2, 0.01)], num_messages=100, retry={"backoff": 0})
    result = terminal.run("run", "--json", "--batch-size", "1")
    assert result.code == 0, result.err
    assert len(checker.rows(ledger_of(terminal), "batches", 1)) == 100
    checker.assert_counted_once(ledger_of(terminal), 1, 100)


def test_static_routing_publishes_in_proportion_to_capacity(terminal: Terminal) -> None:
    terminal.configure(
        num_messages=400,
        senders=[
            {"name": "double", "count": 20, "mean_time": 0.02, "failure_rate": 0},
            {"name": "single", "count": 10, "mean_time": 0.02, "failure_rate": 0},
        ],
    )
    result = terminal.run("run", "--json", "--routing", "static")
    assert result.code == 0, result.err
    double, single = (profile["delivered"] for profile in result.json["profiles"])
    assert double + single == 400
    assert 1.5 < double / single < 2.5
    checker.assert_counted_once(ledger_of(terminal), 1, 400)


@pytest.mark.parametrize(("end", "code"), [(Started.interrupt, 130), (Started.terminate, 143)])
def test_ctrl_c_and_sigterm_end_with_a_summary(
    terminal: Terminal, end: Callable[[Started], None], code: int
) -> None:
    # Given a run that would take minutes
    terminal.configure(
        num_messages=5_000, senders=[flaky(0.1, 0.5)], report_period=0.2, retry={"backoff": 1}
    )
    run = terminal.start("run")
    wait_until(
        lambda: re.search(r"delivered [1-9]", run.out), PATIENCE_SECONDS, "some are delivered"
    )

    # When it is interrupted, then it ends at once, says where it stands, and nothing else
    end(run)
    result = run.wait()
    assert result.code == code
    assert re.search(r"Run 1 interrupted .*resume 1\): [\d,]+ of 5,000 messages", result.out)
    assert_no_traceback(result)
    assert result.err == ""


EXIT_FAILURE, EXIT_THRESHOLD = 1, 3


def test_thresholds_that_are_kept_end_with_0_and_are_shown(terminal: Terminal) -> None:
    terminal.configure(senders=[INSTANT], num_messages=500, thresholds=["lost == 0", "failed < 1%"])
    result = terminal.run("run", "--json", "--threshold", "reached 99% < 1m")
    assert result.code == 0, result.err
    assert [(one["check"], one["state"]) for one in result.json["thresholds"]] == [
        ("lost == 0", "passed"), ("failed < 1%", "passed"), ("reached 99% < 1m", "passed"),
    ]  # fmt: skip


def test_a_missed_threshold_ends_with_3_once_the_run_is_done(terminal: Terminal) -> None:
    terminal.configure(senders=[flaky(0.5)], num_messages=400, retry={"max_attempts": 1})
    result = terminal.run("run", "--threshold", "failed < 10%")
    assert result.code == EXIT_THRESHOLD, result.err
    assert "Run 1 done: 400 of 400 messages" in result.out
    assert "threshold missed: failed < 10%" in result.err.splitlines()[-1]
    assert terminal.run("monitor", "1").code == EXIT_THRESHOLD
    assert terminal.run("audit", "1").code == 0


def test_a_missed_threshold_with_abort_stops_the_run(terminal: Terminal) -> None:
    # Given a run that would take minutes
    terminal.configure(
        num_messages=20_000,
        senders=[flaky(0.5, 0.05)],
        retry={"max_attempts": 1},
        thresholds=[{"check": "failed < 10", "abort": True}],
    )

    # When it misses its threshold
    result = terminal.run("run")

    # Then it ends soon, says why, and what was not sent is counted as cancelled
    assert result.code == EXIT_THRESHOLD, result.err
    assert "failed < 10 (seen" in result.err
    assert "Run 1 is cancelled" in result.err
    assert_no_traceback(result)
    cancelled = sum(row["cancelled"] for row in checker.rows(ledger_of(terminal), "counters", 1))
    assert cancelled > 10_000
    assert terminal.run("audit", "1").code == 0


@pytest.mark.parametrize("option", ["", "--echo", "--json"])
def test_a_reader_that_goes_away_causes_no_traceback(terminal: Terminal, option: str) -> None:
    terminal.configure(
        num_messages=300, senders=[flaky(0.1, 0.02)], report_period=0.1, retry={"backoff": 0}
    )
    command = f"{PIPELINE[0]} run {option} | head -1"
    if option == "--json":  # It writes but one line, at the end: to nobody.
        command = f"{PIPELINE[0]} run {option} | true"
    result = terminal.start("-c", command, program=("/bin/sh",)).wait()
    assert_no_traceback(result)
    assert "Exception ignored" not in result.err
    # With these two options the reports are on stderr.
    assert len(result.err.splitlines()) <= (200 if option else 0), result.err


@pytest.mark.parametrize("option", ["", "--echo"])
def test_a_full_disk_ends_the_run_at_once(terminal: Terminal, option: str) -> None:
    # Given a run of an hour
    terminal.configure(num_messages=360_000, senders=[flaky(0, 0.05)])
    command = f"exec {PIPELINE[0]} run {option} > /dev/full"
    result = terminal.start("-c", command, program=("/bin/sh",)).wait()
    assert result.code == EXIT_FAILURE
    assert result.err.endswith("Error: the output can't be written: No space left on device\n")
    assert_no_traceback(result)


ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal_shows_whole_lines(terminal: Terminal, columns: int) -> None:
    terminal.configure(
        num_messages=300,
        senders=[flaky(0.1, 0.02)],
        report_period=0.2,
        retry={"backoff": 0},
        thresholds=["lost == 0"],
    )
    code, output = run_in_terminal(terminal, columns)
    assert code == 0, output
    assert "Traceback" not in output
    lines = ESCAPE.sub("\r", output).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= columns
    assert "flaky" in output
    assert "… lost == 0" in output
    assert "✓ lost == 0" in output
    assert "300 of 300" in " ".join(output.split())


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(
    terminal: Terminal, variables: dict[str, str]
) -> None:
    terminal.configure(num_messages=100, senders=[INSTANT])
    code, output = run_in_terminal(terminal, 80, **variables)
    assert code == 0, output
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", output)
    if "TERM" in variables:
        assert "\x1b" not in output


def test_a_pipe_gets_no_escape_codes(terminal: Terminal) -> None:
    terminal.configure(num_messages=300, senders=[flaky(0.1, 0.02)], report_period=0.2)
    result = terminal.run("run", FORCE_COLOR="1", CLICOLOR_FORCE="1")
    assert result.code == 0, result.err
    assert "\x1b" not in result.out + result.err


def test_every_view_ends_with_the_numbers_of_the_ledger(terminal: Terminal) -> None:
    # Given a run with failures, watched in a terminal
    terminal.configure(num_messages=500, senders=[flaky(0.4, 0.005)], retry={"max_attempts": 2})
    code, screen = run_in_terminal(terminal, 120)
    assert code == 0, screen

    # When the other views show it, and the ledger is summed up row by row
    lines = terminal.run("monitor", "1").out
    (shown,) = terminal.run("monitor", "1", "--json").objects
    settled = checker.rows(ledger_of(terminal), "settlements", 1)
    names = ("delivered", "failed", "retried", "messages", "send_seconds", "delivery_seconds")
    sums = {name: sum(row[name] for row in settled) for name in names}
    failed_attempts = sums["failed"] + sums["retried"]
    assert sums["failed"] > 0

    # Then all of them say the same
    assert (shown["delivered"], shown["failed"]) == (sums["delivered"], sums["failed"])
    assert (shown["attempts"], shown["failed_attempts"]) == (sums["messages"], failed_attempts)
    assert shown["mean_send_seconds"] == pytest.approx(
        sums["send_seconds"] / sums["messages"], abs=1e-6
    )
    assert shown["mean_delivery_seconds"] == pytest.approx(sums["delivery_seconds"] / 500, abs=1e-6)
    (flaky_profile,) = shown["profiles"]
    assert (flaky_profile["delivered"], flaky_profile["in_flight"]) == (sums["delivered"], 0)
    for view in (screen, lines):
        text = " ".join(ESCAPE.sub("", view).split())
        for part in (
            f"Delivered {sums['delivered']:,}, failed {sums['failed']:,} (out of attempts)",
            f"failed attempts {failed_attempts:,} of {sums['messages']:,}",
            f"Average time per message {shown['mean_delivery_seconds']:.3f} s",
            f"p95 {shown['p95_delivery_seconds']:.3f} s",
            f"send {shown['mean_send_seconds']:.3f} s an attempt",
            f"transit {shown['mean_transit_seconds']:.3f} s",
        ):
            assert part in text


def run_in_terminal(terminal: Terminal, columns: int, **variables: str) -> tuple[int, str]:
    """`sms-pipeline run` on a pseudo-terminal of this width: its exit code and all it drew."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [*PIPELINE, "run"],
        cwd=terminal.folder,
        env=terminal.variables({"COLUMNS": str(columns), "TERM": "xterm", **variables}),
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    output = b"".join(_read_all(main))
    os.close(main)
    return process.wait(PATIENCE_SECONDS), output.decode(errors="replace")


def _read_all(terminal: int) -> Iterator[bytes]:
    while select.select([terminal], [], [], PATIENCE_SECONDS)[0]:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # Linux's word for the end of a pseudo-terminal.
            return
        if not data:
            return
        yield data
    raise AssertionError("the command neither writes nor ends")


def test_the_same_seed_fails_the_same_messages(tmp_path: Path) -> None:
    # Given two fresh ledgers, when the same seed runs on both side by side, then so do failures.
    # One profile, for which messages share a batch does not depend on timing.
    failures = []
    terminals = [Terminal(tmp_path / name) for name in ("first", "second", "other")]
    for terminal in terminals:
        terminal.folder.mkdir()
        terminal.configure(
            num_messages=500,
            senders=[flaky(0.5)],
            batch_size=50,
            retry={"max_attempts": 2, "backoff": 0},
        )
    runs = [
        terminal.start("run", "--json", "--seed", seed)
        for terminal, seed in zip(terminals, ["7", "7", "8"], strict=True)
    ]
    for terminal, run in zip(terminals, runs, strict=True):
        assert run.wait().code == 0
        listed = terminal.run("failures", "--csv").out.splitlines()[1:]
        failures.append(["".join(line.rsplit(",", 1)[:1]) for line in listed])
    assert len(failures[0]) > 50
    assert failures[0] == failures[1]
    assert failures[0] != failures[2]


EAGER = """
import time
from sms_pipeline.config.settings import load_settings
from sms_pipeline.config.files import load_simulation
from sms_pipeline.celery import app
from sms_pipeline.worker.startup import use_queues
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.records import BatchRow
from sms_pipeline.worker.task import send_sms

app.conf.task_always_eager = True
settings = load_settings()
simulation = load_simulation(settings.config)
use_queues(app, [sender.name for sender in simulation.senders], settings.queue_type)
ledger = Ledger.open(settings.database_url)
run = ledger.start_run(simulation, 1)
ledger.record_batches(
    run.id, [BatchRow(run.id, n, "flaky", n * 50, 50, time.time()) for n in range(4)]
)
for number in range(4):
    columns = make_columns(1, number * 50, 50, 100, "xxx-xxx-xxxx")
    batch = Batch(
        ledger=ledger.id, run=run.id, number=number, first_index=number * 50, size=50,
        profile="flaky", attempt=0, started_at=run.started_at, queued_at=time.time(), seed=1,
        retry=simulation.retry, to=columns.to, text=columns.text,
    )
    send_sms.apply_async(args=(batch.to_wire(),))
snapshot = ledger.snapshot(run)
(profile,) = snapshot.profiles
print(profile.delivered, profile.failed, profile.attempts)
"""


def test_eager_mode_runs_the_whole_task_with_its_retries(terminal: Terminal) -> None:
    terminal.configure(
        num_messages=200,
        senders=[flaky(0.5)],
        retry={"max_attempts": 3, "backoff": 0},
    )
    result = terminal.start("-c", EAGER, program=(sys.executable,)).wait()
    assert result.code == 0, result.err
    delivered, failed, attempts = map(int, result.out.split())
    assert delivered + failed == 200
    assert failed > 0
    assert attempts > 250
    assert {row["attempt"] for row in checker.rows(ledger_of(terminal), "settlements", 1)} == {
        0,
        1,
        2,
    }


def test_settings_are_found_from_any_folder(terminal: Terminal) -> None:
    # `report` prints what was changed from Celery's defaults.
    result = terminal.start("report", program=CELERY).wait()
    assert result.code == 0, result.err
    assert "sms_pipeline.worker.consumer:GuardedConsumer" in result.out
    assert re.search(r"task_acks_late: True", result.out)


def test_env_file_of_a_parent_folder_is_used(terminal: Terminal) -> None:
    # Given .env two folders up
    below = terminal.folder / "one" / "two"
    below.mkdir(parents=True)
    database = f"sqlite:///{terminal.folder / 'from-env.db'}"
    config = terminal.configure(num_messages=10, senders=[INSTANT])
    del terminal.environment["SMS_CONFIG"]
    (terminal.folder / ".env").write_text(f"SMS_DATABASE_URL={database}\nSMS_CONFIG={config}\n")

    # Then a command in the folder below uses it, and the environment wins over it
    assert terminal.start("run", cwd=below).wait().code == 0
    assert checker.finished(database, 1) == 10
    own = f"sqlite:///{terminal.folder / 'own.db'}"
    assert terminal.start("run", cwd=below, SMS_DATABASE_URL=own).wait().code == 0
    assert checker.finished(own, 1) == 10
    assert checker.rows(database, "runs", 2) == []
