"""The exporter reads the right run, is honest about what it can't read, and answers over HTTP."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sms_pipeline.config.address import Address
from sms_pipeline.core.errors import ConfigError, LedgerUnavailableError
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.metrics import server
from sms_pipeline.views.metrics.exporter import (
    STALE_SECONDS,
    Answer,
    Exporter,
)
from sms_pipeline.views.metrics.server import serving
from tests.services.waiting import wait_until
from tests.unit import make

HTTP_SECONDS = 10
ANY_PORT = Address("127.0.0.1", 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def exporter(ledger: Ledger, clock: ManualClock) -> Exporter:
    return Exporter(ledger, clock=clock)


def value(exporter: Exporter, name: str, **labels: str) -> float | None:
    """Of the one sample with that name and at least those labels."""
    found = [
        sample.value
        for family in text_string_to_metric_families(exporter.answer("/metrics").body.decode())
        for sample in family.samples
        if sample.name == f"sms_pipeline_{name}" and labels.items() <= sample.labels.items()
    ]
    return found[0] if found else None


def healthz(exporter: Exporter) -> tuple[int, str]:
    answer = exporter.answer("/healthz")
    return answer.status, answer.body.decode()


# Reading


def test_empty_ledger_is_healthy(exporter: Exporter) -> None:
    exporter.read()
    assert healthz(exporter) == (200, "ok: no run yet\n")
    assert value(exporter, "ledger_up") == 1
    assert value(exporter, "run_messages") is None


def test_latest_run_is_followed(ledger: Ledger, run: Run, exporter: Exporter) -> None:
    exporter.read()
    assert value(exporter, "run_messages", run="1") == 100
    ledger.start_run(make.simulation(num_messages=7), seed=1)
    exporter.read()
    assert value(exporter, "run_messages", run="2") == 7
    assert value(exporter, "run_messages", run="1") is None


def test_chosen_run_is_kept(ledger: Ledger, run: Run) -> None:
    ledger.start_run(make.simulation(num_messages=7), seed=1)
    exporter = Exporter(ledger, run.id)
    exporter.read()
    assert value(exporter, "run_messages", run="1") == 100


def test_run_that_does_not_exist_is_told(ledger: Ledger) -> None:
    exporter = Exporter(ledger, 9)
    exporter.read()
    status, body = healthz(exporter)
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "no run 9" in body


def test_settlements_are_seen_at_the_next_reading(
    ledger: Ledger, run: Run, exporter: Exporter
) -> None:
    exporter.read()
    ledger.settle([make.settlement(run.id, delivered=8, retried=2, remainder=make.bitmap(1, 2))])
    exporter.read()
    assert value(exporter, "messages_total", profile="fast", state="delivered") == 8
    assert value(exporter, "retrying_messages", profile="fast") == 2


def test_idle_time_is_that_of_the_run(
    ledger: Ledger, run: Run, exporter: Exporter, clock: ManualClock
) -> None:
    exporter.read()
    clock.advance(5)
    exporter.read()
    assert value(exporter, "idle_seconds") == 5


def test_run_that_stands_still_turns_red_and_comes_back(
    ledger: Ledger, run: Run, exporter: Exporter, clock: ManualClock
) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    exporter.read()
    assert healthz(exporter)[0] == HTTPStatus.OK
    clock.advance(600)
    exporter.read()
    status, body = healthz(exporter)
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert body.startswith("red: run 1: no progress for 10 min 00 s, 10 messages waiting")
    assert len(body.splitlines()) == 1
    assert value(exporter, "healthy") == 0

    ledger.settle([make.settlement(run.id)])
    exporter.read()
    assert healthz(exporter)[0] == HTTPStatus.OK
    assert value(exporter, "healthy") == 1


def test_paused_run_may_stand_still(
    ledger: Ledger, run: Run, exporter: Exporter, clock: ManualClock
) -> None:
    exporter.read()
    ledger.control(run.id, Control.PAUSED)
    clock.advance(600)
    exporter.read()
    assert healthz(exporter) == (200, "ok: run 1 is paused\n")


def test_without_a_ledger_no_old_figures_are_shown(
    ledger: Ledger, run: Run, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LedgerUnavailableError("the ledger can't be reached: no route")

    exporter.read()
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "snapshot", away)
        exporter.read()
    assert healthz(exporter) == (503, "red: the ledger can't be reached: no route\n")
    assert value(exporter, "ledger_up") == 0
    assert value(exporter, "run_messages") is None

    exporter.read()
    assert healthz(exporter)[0] == HTTPStatus.OK
    assert value(exporter, "run_messages") == 100


def test_ledger_that_does_not_answer_is_told_from_one_that_does(
    run: Run, exporter: Exporter, clock: ManualClock
) -> None:
    exporter.read()
    clock.advance(STALE_SECONDS + 1)
    assert healthz(exporter) == (503, "red: the ledger did not answer for 16.0 s\n")
    assert value(exporter, "ledger_up") == 0
    assert value(exporter, "run_messages") is None


# Serving


@pytest.fixture
def url(run: Run, exporter: Exporter) -> Iterator[str]:
    with serving(exporter, ANY_PORT) as address:
        assert address.port != 0
        yield f"http://{address}"


def get(url: str, method: str = "GET") -> Answer:
    request = urllib.request.Request(url, method=method)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as response:  # noqa: S310
            return Answer(response.status, response.headers["Content-Type"], response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers["Content-Type"], error.read())


def test_both_paths_are_answered(url: str, exporter: Exporter) -> None:
    assert get(f"{url}/metrics?debug=1") == exporter.answer("/metrics")
    assert get(f"{url}/healthz") == exporter.answer("/healthz")
    assert get(f"{url}/metrics").content_type.startswith("text/plain; version=0.0.4")


def test_other_paths_and_methods_are_not(url: str) -> None:
    assert get(f"{url}/etc/passwd").status == HTTPStatus.NOT_FOUND
    assert get(f"{url}/metrics", "POST").status == HTTPStatus.NOT_IMPLEMENTED


def test_a_head_has_no_body(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), HTTP_SECONDS) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.0\r\n\r\n")
        received = connection.makefile("rb").read()
    assert b" 200 OK\r\n" in received
    assert received.endswith(b"\r\n\r\n")


def test_server_listens_on_its_address_only(url: str) -> None:
    assert url.startswith("http://127.0.0.1:")


def test_server_is_gone_after_its_block(ledger: Ledger) -> None:
    with serving(Exporter(ledger), ANY_PORT) as address:
        pass
    with socket.socket() as probe:
        assert probe.connect_ex((address.host, address.port)) != 0


def test_port_in_use_is_one_line(ledger: Ledger) -> None:
    with (
        serving(Exporter(ledger), ANY_PORT) as address,
        pytest.raises(ConfigError, match=f"can't listen on {address}: Address already in use"),
        serving(Exporter(ledger), address),
    ):
        pass


def status_of(url: str, *headers: str) -> str:
    """The first line of the answer to a request with these headers; empty if there is none."""
    with connect(url) as connection:
        lines = "".join(f"{header}\r\n" for header in headers)
        connection.sendall(f"GET /metrics HTTP/1.1\r\n{lines}\r\n".encode())
        return connection.makefile("rb").readline().decode().strip()


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), HTTP_SECONDS)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost", "[::1]", "metrics:9464", "Box.example"]
)
def test_our_own_names_are_answered(run: Run, exporter: Exporter, host: str) -> None:
    with serving(exporter, ANY_PORT, ["box.example"]) as address:
        assert " 200 " in status_of(f"http://{address}", f"Host: {host}")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "["]
)
def test_another_name_that_leads_here_is_refused(url: str, host: str) -> None:
    assert " 421 " in status_of(url, f"Host: {host}")
    assert " 200 " in status_of(url)


def test_threads_are_bounded_and_come_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._Server, "connections", 2)
    silent = [connect(url) for _ in range(2)]
    wait_until(lambda: status_of(url, "Host: localhost") == "", HTTP_SECONDS, "there is no room")
    for one in silent:
        one.close()
    wait_until(
        lambda: " 200 " in status_of(url, "Host: localhost"), HTTP_SECONDS, "there is room again"
    )


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost"], ids=["none", "half"])
def test_who_sends_no_whole_request_is_sent_away(
    url: str, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server._Server, "seconds", 0.05)
    with connect(url) as connection:
        connection.sendall(said)
        assert b" 200 " not in connection.makefile("rb").read()


def test_a_row_that_can_not_be_read_is_told_and_the_next_reading_is_made(
    ledger: Ledger, run: Run, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(*_: object) -> None:
        raise KeyError("profile")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "snapshot", bad)
        exporter.read()
    assert healthz(exporter) == (503, "red: the ledger holds what can't be read: KeyError\n")
    assert value(exporter, "ledger_up") == 0
    exporter.read()
    assert healthz(exporter)[0] == HTTPStatus.OK
