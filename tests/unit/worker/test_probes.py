"""What probes of a worker are told, over HTTP and by a file."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.utils.dispatch import Signal

from sms_pipeline.config.address import Address
from sms_pipeline.config.reading import shown
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker import pipeline, probes
from sms_pipeline.worker.health import Health
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.probes import (
    Checkup,
    HealthFile,
    HealthServer,
    answer_probes,
    place_of,
)
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.signs import LONGEST_TURN, Part
from tests.services.waiting import wait_until
from tests.unit import make

PATIENCE_SECONDS = 30
ANY_PORT = Address("127.0.0.1", 0)


class Patient:
    """A worker whose health a test sets."""

    def __init__(self) -> None:
        self.live = self.ready = True

    def __call__(self) -> Health:
        return Health(self.live, self.ready, (), {"live": self.live, "ready": self.ready})


@pytest.fixture
def patient() -> Patient:
    return Patient()


# Where


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("8081", Address("127.0.0.1", 8081)),
        ("0.0.0.0:8081", Address("0.0.0.0", 8081)),  # noqa: S104 - told to
        ("[::1]:8081", Address("::1", 8081)),
        ("health.json", Path("health.json")),
        ("/run/sms/fast:1", Path("/run/sms/fast:1")),
        ("./8081", Path("8081")),
        ("a:b", Path("a:b")),
    ],
)
def test_place_is_an_address_or_a_file(where: str, place: Address | Path) -> None:
    assert place_of(where) == place


@pytest.mark.parametrize("where", ["", "folder/", "65536", ":8081", "a\0b"])
def test_what_is_neither_is_refused(where: str) -> None:
    with pytest.raises(ConfigError, match=r"^option --health: must be PORT"):
        place_of(where)


# HTTP


@pytest.fixture
def server(patient: Patient) -> Iterator[HealthServer]:
    made = HealthServer(ANY_PORT, patient)
    made.start()
    yield made
    made.stop()


def get(server: HealthServer, path: str) -> tuple[int, Any]:
    url = server.place.removesuffix("/live") + path
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            assert response.headers["Content-Type"] == "application/json"
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("ready", [True, False])
def test_each_path_has_its_own_answer(
    server: HealthServer, patient: Patient, live: bool, ready: bool
) -> None:
    patient.live, patient.ready = live, ready
    told = {"live": live, "ready": ready}
    status = {True: HTTPStatus.OK, False: HTTPStatus.SERVICE_UNAVAILABLE}
    assert get(server, "/live") == (status[live], told)
    assert get(server, "/ready?verbose=1") == (status[ready], told)


def test_there_are_no_other_paths(server: HealthServer) -> None:
    assert get(server, "/") == (HTTPStatus.NOT_FOUND, {"paths": ["/live", "/ready"]})


def test_server_listens_on_its_address_only(server: HealthServer) -> None:
    assert server.place.startswith("http://127.0.0.1:")


def test_clients_that_say_nothing_keep_no_probe_out(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes._Handler, "timeout", 0.2)
    silent = [
        socket.create_connection(server.server_address[:2], PATIENCE_SECONDS)  # type: ignore[arg-type]
        for _ in range(2 * probes.MOST_CLIENTS)
    ]

    def is_answered() -> bool:
        try:
            return get(server, "/live")[0] == HTTPStatus.OK
        except OSError:
            return False

    wait_until(is_answered, PATIENCE_SECONDS, "the silent ones are sent away")
    for client in silent:
        client.close()


def test_a_client_that_says_a_little_now_and_then_is_sent_away(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more time for each word than for the whole request
    monkeypatch.setattr(probes._Handler, "timeout", PATIENCE_SECONDS)
    monkeypatch.setattr(HealthServer, "seconds", 0.05)
    with socket.create_connection(server.server_address[:2], PATIENCE_SECONDS / 2) as client:  # type: ignore[arg-type]
        client.sendall(b"GET /live HTTP/1.1\r\nHost")
        assert client.recv(1) == b""


def test_only_so_many_clients_are_answered_at_the_same_time(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes._Handler, "timeout", PATIENCE_SECONDS)
    clients = [
        socket.create_connection(server.server_address[:2], PATIENCE_SECONDS)  # type: ignore[arg-type]
        for _ in range(2 * probes.MOST_CLIENTS)
    ]
    # They are taken in turn, so once the last one is sent away, all were
    assert clients[-1].recv(1) == b""
    kept = clients[: probes.MOST_CLIENTS]
    for client in clients[probes.MOST_CLIENTS :]:
        assert client.recv(1) == b""
    for client in kept:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    for client in clients:
        client.close()


def test_port_in_use_is_one_line(server: HealthServer, patient: Patient) -> None:
    port = server.server_address[1]
    with pytest.raises(ConfigError) as refusal:
        HealthServer(Address("127.0.0.1", port), patient)
    assert str(refusal.value) == (
        f"option --health: can't listen on 127.0.0.1:{port}: Address already in use"
    )


# A file


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "WRITE_SECONDS", 0.01)


def is_renewed(file: Path) -> Callable[[], bool]:
    """Whether it was written since this was called."""
    before = file.stat().st_ino
    return lambda: file.stat().st_ino != before


@pytest.mark.usefixtures("quick")
def test_file_is_fresh_while_the_worker_lives_and_gone_afterwards(
    tmp_path: Path, patient: Patient
) -> None:
    file = tmp_path / "health.json"
    writing = HealthFile(file, patient)
    assert json.loads(file.read_text()) == {"live": True, "ready": True}
    writing.start()
    patient.ready = False
    wait_until(
        lambda: json.loads(file.read_text())["ready"] is False, PATIENCE_SECONDS, "it is told"
    )
    wait_until(is_renewed(file), PATIENCE_SECONDS, "it is written again")
    writing.stop()
    assert list(tmp_path.iterdir()) == []
    # `stop` waits for it for a moment only
    wait_until(lambda: not writing.is_alive(), PATIENCE_SECONDS, "its thread ends")


@pytest.mark.usefixtures("quick")
def test_file_grows_old_while_the_worker_is_not_alive(tmp_path: Path, patient: Patient) -> None:
    file = tmp_path / "health.json"
    looks: list[bool] = []

    def looked() -> Health:
        looks.append(patient.live)
        return patient()

    writing = HealthFile(file, looked)
    writing.start()
    patient.live = False
    # A look may have begun just before
    wait_until(lambda: looks[-1] is False, PATIENCE_SECONDS, "it is seen")
    before, seen = file.stat(), len(looks)
    wait_until(lambda: len(looks) > seen + 3, PATIENCE_SECONDS, "it is looked at again")
    assert file.stat() == before
    patient.live = True
    wait_until(is_renewed(file), PATIENCE_SECONDS, "it is written again")
    writing.stop()


@pytest.mark.parametrize("folder", ["none", "a\nb"])
def test_file_that_can_not_be_written_is_one_line(
    tmp_path: Path, patient: Patient, folder: str
) -> None:
    file = tmp_path / folder / "health.json"
    with pytest.raises(ConfigError) as refusal:
        HealthFile(file, patient)
    assert str(refusal.value) == (
        f"option --health: can't write {shown(file)}: No such file or directory"
    )


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "dangling link"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, patient: Patient, kind: str) -> None:
    # Else `--health /dev/null`, as root, would make a file of it.
    place = tmp_path / "place"
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "link":
            (tmp_path / "file").touch()
            place.symlink_to("file")
        case _:
            place.symlink_to("nowhere")
    before = place.lstat()
    with pytest.raises(ConfigError) as refusal:
        HealthFile(place, patient)
    assert str(refusal.value) == f"option --health: {place} is there, and is not a file"
    assert place.lstat() == before


def test_file_of_an_earlier_worker_is_replaced(tmp_path: Path, patient: Patient) -> None:
    file = tmp_path / "health.json"
    file.write_text("old")
    HealthFile(file, patient)
    assert json.loads(file.read_text())["live"]


@pytest.mark.usefixtures("quick")
def test_file_that_can_not_be_written_for_a_while_is_told_once(
    tmp_path: Path, patient: Patient, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "health.json"
    looks: list[Health] = []

    def looked() -> Health:
        looks.append(patient())
        return looks[-1]

    writing = HealthFile(file, looked)
    writing.start()
    # When its folder is away for several looks, twice
    for times in (1, 2):
        file.parent.rename(tmp_path / "away")
        due = len(looks) + 5
        wait_until(lambda due=due: len(looks) > due, PATIENCE_SECONDS, "it fails")  # type: ignore[misc]
        (tmp_path / "away").rename(file.parent)
        wait_until(is_renewed(file), PATIENCE_SECONDS, "it is written again")
        # Then that is told once each time
        assert caplog.text.count("can't write") == times
    writing.stop()


def test_disk_that_is_full_is_told_as_it_is(
    tmp_path: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        HealthFile(tmp_path / "health.json", patient)


def test_file_that_somebody_took_away_keeps_no_worker_from_ending(
    tmp_path: Path, patient: Patient
) -> None:
    writing = HealthFile(tmp_path / "health.json", patient)
    assert writing.daemon
    (tmp_path / "health.json").unlink()
    writing.stop()


# What is looked at


@pytest.fixture
def worker(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    made = Worker(ledger, [make.profile("fast")])
    monkeypatch.setattr(pipeline, "_installed", [Pipeline(made, None)])  # type: ignore[arg-type]
    made.start()
    made.signs.mark(Part.LOOP, time.monotonic())
    yield made
    made.stop()


class Consumer:
    """Celery's, as far as it is looked at."""

    def __init__(self, connected: bool = True, consuming: bool = True) -> None:
        self.connection = SimpleNamespace(connected=connected) if connected else None
        self.task_consumer = object() if consuming else None


def test_process_without_a_worker_is_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_installed", [])
    health = Checkup()()
    assert (health.live, health.ready) == (True, False)
    assert health.told["host"] == socket.gethostname()


def test_worker_is_ready_once_it_consumes(worker: Worker) -> None:
    checkup = Checkup()
    assert not checkup().ready
    checkup.meet(Consumer())
    health = checkup()
    assert health.ready, health.reasons
    assert (health.told["worker"], health.told["last_commit_seconds"]) == (worker.id, None)
    assert health.told["host"] == socket.gethostname()


@pytest.mark.parametrize("met", [Consumer(connected=False), Consumer(consuming=False)])
def test_worker_without_a_connection_or_a_consumer_is_not_ready(worker: Worker, met: Any) -> None:
    checkup = Checkup()
    checkup.meet(met)
    assert checkup().live
    assert not checkup().ready


def test_worker_whose_main_loop_has_not_begun_is_not_ready(worker: Worker) -> None:
    worker.signs.end(Part.LOOP)
    checkup = Checkup()
    checkup.meet(Consumer())
    assert checkup().live
    assert not checkup().ready


def test_last_commit_is_told(worker: Worker, ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=7)
    worker._writer.settle(make.settlement(run.id))
    assert 0 <= Checkup()().told["last_commit_seconds"] < PATIENCE_SECONDS


def test_part_that_hangs_is_seen(worker: Worker) -> None:
    clock = ManualClock(monotonic=time.monotonic())
    checkup = Checkup(clock)
    checkup.meet(Consumer())
    worker.signs.mark(Part.LOOP, clock.monotonic() - LONGEST_TURN[Part.LOOP] - 1)
    assert not checkup().live


def test_worker_that_stops_is_not_ready(worker: Worker) -> None:
    checkup = Checkup()
    checkup.meet(Consumer())
    worker.stopping.set()
    assert (checkup().live, checkup().ready) == (True, False)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sends a signal of Celery's, to nobody but those whom the test lets listen."""
    sent = {name: Signal(name=name) for name in ("worker_ready", "worker_shutdown")}
    for name, signal in sent.items():
        monkeypatch.setattr(probes.signals, name, signal)
    return lambda name: sent[name].send(sender=Consumer())


@pytest.mark.usefixtures("quick", "worker")
def test_a_file_is_kept_from_the_start_of_the_worker_to_its_end(
    told: Callable[[str], None], tmp_path: Path
) -> None:
    file = tmp_path / "health.json"
    assert answer_probes(str(file)) == str(file)
    assert not json.loads(file.read_text())["ready"]
    told("worker_ready")
    wait_until(lambda: json.loads(file.read_text())["ready"], PATIENCE_SECONDS, "it is ready")
    told("worker_shutdown")
    wait_until(lambda: not file.exists(), PATIENCE_SECONDS, "it is taken away")


@pytest.mark.usefixtures("worker")
def test_a_port_answers_from_the_start_of_the_worker_to_its_end(
    told: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "place_of", lambda where: ANY_PORT)
    url = answer_probes("8081").replace("/live", "/ready")

    def status() -> int:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == HTTPStatus.SERVICE_UNAVAILABLE
    told("worker_ready")
    assert status() == HTTPStatus.OK
    told("worker_shutdown")
    with pytest.raises(urllib.error.URLError):
        status()


def test_file_is_not_read_half_written(tmp_path: Path, patient: Patient) -> None:
    # What is written is another file until it is whole
    file = tmp_path / "health.json"
    writing = HealthFile(file, patient)
    assert writing._next.name == f".health.json.{os.getpid()}"
    assert writing._next.parent == file.parent
