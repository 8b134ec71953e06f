"""What a scraper reads over HTTP, during a run and after it, is what the ledger holds."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.ledger.store import Ledger
from tests.functional.terminal import PATIENCE_SECONDS, Started, Terminal
from tests.services.postgres import PostgresNode
from tests.services.processes import free_port
from tests.services.waiting import wait_until

OBSERVABILITY = Path(__file__).parents[2] / "observability"

HTTP_SECONDS = 10
MESSAGES = 3_000

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def monitor(terminal: Terminal) -> Started:
    return terminal.start("monitor", "--forever", "--metrics", "0")


@pytest.fixture
def url(monitor: Started) -> str:
    return url_of(monitor)


def url_of(monitor: Started) -> str:
    monitor.says("Metrics: ")
    found = re.search(r"Metrics: (http://127\.0\.0\.1:\d+)/metrics", monitor.err)
    assert found
    return found[1]


def scrape(url: str) -> Samples:
    """Values by name and label values: run, profile, state or outcome or bound."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=HTTP_SECONDS) as response:  # noqa: S310
        text = response.read().decode()
    keys = ("run", "profile", "state", "outcome", "le")
    return {
        (
            sample.name.removeprefix("sms_pipeline_"),
            *(sample.labels[key] for key in keys if key in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figures(counts: ProfileCounts, run: str) -> Samples:
    """What must be read of a profile."""
    labels = (run, counts.profile)
    return {
        ("messages_total", *labels, "delivered"): counts.delivered,
        ("messages_total", *labels, "failed"): counts.failed,
        ("attempts_total", *labels, "delivered"): counts.delivered,
        ("attempts_total", *labels, "failed"): counts.failed + counts.retried,
        ("dispatched_messages_total", *labels): counts.dispatched,
        ("backlog_messages", *labels): 0,
        ("retrying_messages", *labels): 0,
        ("delivery_seconds_count", *labels): counts.delivered + counts.failed,
        ("delivery_seconds_bucket", *labels, "+Inf"): counts.delivered + counts.failed,
        ("delivery_seconds_sum", *labels): pytest.approx(counts.delivery_seconds),
        ("send_seconds_total", *labels): pytest.approx(counts.send_seconds),
    }


def is_consistent(got: Samples) -> bool:
    """Whether counters and histogram of one scrape are of one moment."""
    ended: Counter[tuple[str, ...]] = Counter()
    for (name, *labels), value in got.items():
        if name == "messages_total" and labels[2] in ("delivered", "failed"):
            ended[tuple(labels[:2])] += int(value)
    return all(got["delivery_seconds_count", *labels] == ended[labels] for labels in ended)


def delivered(got: Samples, run: str) -> float:
    return sum(
        value
        for (name, *labels), value in got.items()
        if name == "messages_total" and labels[0] == run and labels[2] == "delivered"
    )


def test_scrapes_agree_with_the_ledger(terminal: Terminal, monitor: Started, url: str) -> None:
    # Given a monitor that waits for a run, and one that begins
    assert scrape(url)["ledger_up",] == 1
    terminal.configure(num_messages=MESSAGES, retry={"backoff": 0, "max_attempts": 2})
    rehearsal = terminal.start("run")

    # When it is scraped in mid-run, then the figures are of one moment
    def in_the_middle() -> Samples | None:
        got = scrape(url)
        assert is_consistent(got)
        return got if 0 < delivered(got, "1") < MESSAGES / 2 else None

    middle = wait_until(in_the_middle, PATIENCE_SECONDS, "a scrape in mid-run")
    assert middle["run_state", "1", "running"] == 1
    assert sum(value for (name, *_), value in middle.items() if name == "backlog_messages") > 0

    # And at the end they are the ledger's
    assert rehearsal.wait().code == 0
    last = wait_until(
        lambda: got if (got := scrape(url))["run_state", "1", "done"] else None,
        PATIENCE_SECONDS,
        "the end of the run is scraped",
    )
    ledger = Ledger.open(f"sqlite:///{terminal.folder / 'sms_pipeline.db'}")
    snapshot = ledger.snapshot(ledger.run())
    ledger.close()
    assert snapshot.counts.finished == MESSAGES
    for counts in snapshot.profiles:
        assert {key: last[key] for key in figures(counts, "1")} == figures(counts, "1")

    # And the next run is followed
    assert terminal.run("run", "-n", "50").code == 0
    wait_until(lambda: delivered(scrape(url), "2"), PATIENCE_SECONDS, "the next run is scraped")
    assert not any(labels[:1] == ["1"] for _, *labels in scrape(url))
    monitor.says("Run 2 done")
    monitor.interrupt()
    assert monitor.wait().code == 130


def healthz(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=HTTP_SECONDS) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_is_red_while_the_database_is_away(
    terminal: Terminal, postgres: PostgresNode, postgres_url: str
) -> None:
    terminal.environment["SMS_DATABASE_URL"] = postgres_url
    url = url_of(terminal.start("monitor", "--forever", "--metrics", "0"))
    assert healthz(url) == (200, "ok: no run yet\n")

    postgres.kill()
    status, line = wait_until(
        lambda: found if (found := healthz(url))[0] != 200 else None,
        PATIENCE_SECONDS,
        "health is red",
    )
    assert status == 503
    assert line.startswith("red: the ledger postgresql")
    assert len(line.splitlines()) == 1
    assert scrape(url) == {("ledger_up",): 0, ("healthy",): 0}

    postgres.start()
    wait_until(lambda: healthz(url)[0] == 200, PATIENCE_SECONDS, "health is ok again")


@pytest.fixture
def prometheus(terminal: Terminal, url: str) -> str:
    """The URL of a Prometheus that scrapes the monitor, with the rules of this project."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed")
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(OBSERVABILITY / "rules.yml")]
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "sms-pipeline")
    job["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
    config["scrape_configs"] = [job]
    (terminal.folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    terminal.start(
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        program=("prometheus",),
    )
    return f"http://127.0.0.1:{port}"


def ask(prometheus: str, path: str, **parameters: str) -> Any:
    query = urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(  # noqa: S310
            f"{prometheus}/api/v1/{path}?{query}", timeout=HTTP_SECONDS
        ) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        starting = error.code == HTTPStatus.SERVICE_UNAVAILABLE
        assert starting, f"{parameters}: {error.read().decode()}"
    except urllib.error.URLError:
        pass  # It does not even listen yet.
    return {}


def test_every_panel_of_the_board_shows_something(terminal: Terminal, prometheus: str) -> None:
    # Given a run long enough for rates
    terminal.configure(num_messages=2 * MESSAGES, retry={"backoff": 1})
    rehearsal = terminal.start("run")

    # When each query of the board is asked, then all have an answer
    board = json.loads((OBSERVABILITY / "grafana" / "board.json").read_text())
    unanswered = {
        target["expr"].replace("$run", "1").replace("$__rate_interval", "30s")
        for panel in board["panels"]
        for target in panel["targets"]
    }

    def all_answered() -> bool:
        answered = {
            query for query in unanswered if ask(prometheus, "query", query=query).get("result")
        }
        unanswered.difference_update(answered)
        return not unanswered

    wait_until(all_answered, PATIENCE_SECONDS, f"every query is answered; left: {unanswered}")
    assert rehearsal.wait().code == 0

    # And no alert was raised
    rules = ask(prometheus, "rules")["groups"][0]["rules"]
    assert len(rules) > 1
    assert {(rule["name"], rule["state"], rule.get("lastError")) for rule in rules} == {
        (rule["name"], "inactive", None) for rule in rules
    }
