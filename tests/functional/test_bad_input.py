"""What a user can get wrong: one clear line, a named exit code, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.terminal import CELERY, Result, Terminal
from tests.services.processes import free_port
from tests.services.rabbitmq import RabbitMQNode

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_BROKEN = 4

#: What "can't be reached" may take until it is said.
TOLD_WITHIN_SECONDS = 20.0

#: A pool that needs its library before Celery asks us; this is all of it that is looked at.
FAKE_GEVENT = {
    "__init__.py": "class Timeout(BaseException): ...\n",
    "monkey.py": "def patch_all(): ...\n",
    "signal.py": "",
}


@pytest.fixture
def worker_terminal(terminal: Terminal) -> Terminal:
    """With a broker's URL at which nobody listens: these errors come before any connection."""
    terminal.environment["CELERY_BROKER_URL"] = unreachable_broker()
    return terminal


def unreachable_broker() -> str:
    """A URL at which nobody listens."""
    return f"amqp://guest:secret@127.0.0.1:{free_port()}//"


def unreachable_database() -> str:
    """A URL at which nobody listens."""
    return f"postgresql://user:secret@127.0.0.1:{free_port()}/none"


def worker(terminal: Terminal, *options: str, timeout: float = 60, **changes: str | None) -> Result:
    """`celery -A sms_pipeline worker …` to its end."""
    return terminal.start("worker", *options, program=CELERY, **changes).wait(timeout)


def assert_one_line(result: Result, code: int, *words: str) -> None:
    """The command ended with this code and said these words, in one line and nothing else."""
    assert result.code == code, result.err
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("Error: ")
    for word in words:
        assert word in lines[0]
    assert "secret" not in result.out + result.err
    assert "Traceback" not in result.out + result.err


def test_a_worker_without_a_broker_says_how_to_name_one(terminal: Terminal) -> None:
    assert_one_line(worker(terminal, "--profile", "fast"), EXIT_USAGE, "CELERY_BROKER_URL=")


def test_producing_without_a_broker_says_how_to_name_one(terminal: Terminal) -> None:
    assert_one_line(terminal.run("produce"), EXIT_USAGE, "produce", "CELERY_BROKER_URL=")


def test_an_unknown_profile_is_answered_with_the_known_ones(worker_terminal: Terminal) -> None:
    result = worker(worker_terminal, "--profile", "nope")
    assert_one_line(result, EXIT_USAGE, "'nope'", "fast", "standard", "slow")


def test_a_missing_profile_is_answered_with_the_known_ones(worker_terminal: Terminal) -> None:
    assert_one_line(worker(worker_terminal), EXIT_USAGE, "--profile", "fast", "standard", "slow")


@pytest.mark.parametrize("option", ["-P prefork", "--pool=prefork", "-P solo"])
def test_every_pool_but_threads_is_refused(worker_terminal: Terminal, option: str) -> None:
    result = worker(worker_terminal, "--profile", "fast", *option.split())
    assert_one_line(result, EXIT_USAGE, "--pool", "threads")


def test_gevent_is_refused_where_it_is_installed(worker_terminal: Terminal, tmp_path: Path) -> None:
    # Where it is not, Celery itself ends with an ImportError before it imports the app.
    library = tmp_path / "library"
    (library / "gevent").mkdir(parents=True)
    for name, content in FAKE_GEVENT.items():
        (library / "gevent" / name).write_text(content)
    before = worker_terminal.variables({}).get("PYTHONPATH", "")
    result = worker(
        worker_terminal, "--profile", "fast", "-P", "gevent", PYTHONPATH=f"{library}:{before}"
    )
    assert_one_line(result, EXIT_USAGE, "--pool", "threads")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("senders: [\n", ["not valid YAML", "line 2"]),
        ("num_messages: many\n", ["num_messages", "'many'"]),
        ("sender: []\n", ["unknown key", "'sender'", "senders"]),
        ("seed: 1\nseed: 2\n", ["line 2", "'seed'", "twice"]),
    ],
    ids=["syntax", "type", "key", "duplicate"],
)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(
    worker_terminal: Terminal, tmp_path: Path, content: str, words: list[str]
) -> None:
    (tmp_path / "bad.yml").write_text(content)
    result = worker(worker_terminal, "--profile", "fast", "--config", "bad.yml")
    assert_one_line(result, EXIT_USAGE, "bad.yml", *words)


def test_senders_too_slow_for_a_batch_are_answered_with_numbers_that_do(
    worker_terminal: Terminal,
) -> None:
    worker_terminal.configure(
        batch_size=5000, senders=[{"name": "snail", "mean_time": 10, "failure_rate": 0}]
    )
    result = worker(worker_terminal, "--profile", "snail")
    assert_one_line(result, EXIT_USAGE, "'snail'", "at least 84 senders", "batch_size 60")


# A worker waits for both: see test_start.py.


@pytest.mark.parametrize("command", ["produce", "run"])
def test_a_broker_that_does_not_answer_is_named(worker_terminal: Terminal, command: str) -> None:
    result = worker_terminal.run(command, timeout=TOLD_WITHIN_SECONDS)
    assert_one_line(result, EXIT_FAILURE, "the broker at amqp://", "can't be reached")


def test_a_ledger_that_does_not_answer_is_named(
    rabbitmq: RabbitMQNode, terminal: Terminal, broker_url: str
) -> None:
    terminal.environment |= {
        "CELERY_BROKER_URL": broker_url,
        "SMS_DATABASE_URL": unreachable_database(),
    }
    result = terminal.run("produce", timeout=TOLD_WITHIN_SECONDS)
    assert_one_line(result, EXIT_FAILURE, "ledger", "can't be reached")


@pytest.mark.parametrize("command", [("monitor", "--once"), ("trace",)], ids=" ".join)
def test_an_empty_ledger_has_no_run_to_show(terminal: Terminal, command: tuple[str, ...]) -> None:
    assert_one_line(terminal.run(*command), EXIT_USAGE, "no run yet")


def test_an_unknown_run_is_refused(terminal: Terminal) -> None:
    assert_one_line(terminal.run("monitor", "7"), EXIT_USAGE, "no run")


def test_a_bad_threshold_is_pointed_at(terminal: Terminal) -> None:
    (terminal.folder / "bad.yml").write_text("thresholds: [failed < 1%, p95 delivery < 30]\n")
    result = terminal.run("run", "bad.yml")
    assert result.code == EXIT_USAGE
    assert result.err.splitlines() == [
        "Error: bad.yml: line 1: thresholds[1]: needs a unit; use ms, s, m or h",
        "    p95 delivery < 30",
        "                     ^",
    ]


#: Commands that read a ledger.
READING = (
    ("runs",),
    ("senders",),
    ("audit",),
    ("report", "--format", "json"),
    ("failures",),
    ("trace",),
    ("compare", "1", "1"),
    ("monitor", "--once"),
)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_ledger_that_is_not_there_is_not_made(
    terminal: Terminal, command: tuple[str, ...]
) -> None:
    assert_one_line(terminal.run(*command), EXIT_USAGE, "no run yet", "sms_pipeline.db")
    assert not list(terminal.folder.glob("sms_pipeline.db*"))


@pytest.mark.parametrize("command", [*READING, ("pause",), ("resume",), ("run",)], ids=" ".join)
def test_a_ledger_that_is_damaged_is_one_line(terminal: Terminal, command: tuple[str, ...]) -> None:
    (terminal.folder / "sms_pipeline.db").write_bytes(bytes(range(256)) * 64)
    result = terminal.run(*command)
    assert_one_line(result, EXIT_BROKEN, "is damaged: file is not a database")
