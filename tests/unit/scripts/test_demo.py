"""What `make demo` and `make broker` decide; a functional test starts them."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from pathlib import Path

import pytest

from scripts import broker, demo
from sms_pipeline.core.simulation import DEFAULT_SENDERS


@pytest.mark.parametrize(
    ("node", "docker", "way"),
    [
        (True, "/usr/bin/docker", "node"),
        (True, None, "node"),
        (False, "/usr/bin/docker", "docker"),
        (False, None, None),
    ],
)
def test_what_is_installed_is_used(node: bool, docker: str | None, way: str | None) -> None:
    assert broker.way_to_start(node, docker) == way


def test_without_anything_it_says_how_to_get_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.RabbitMQNode, "available", lambda: "missing")
    monkeypatch.setattr(broker.shutil, "which", lambda _: None)
    with pytest.raises(broker.StartError, match=r"make services.*Docker.*CELERY_BROKER_URL="):
        broker.broker().__enter__()


def test_a_second_one_in_a_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "FOLDER", tmp_path)
    monkeypatch.setattr(broker.RabbitMQNode, "available", lambda: None)
    monkeypatch.setattr(broker, "_node", lambda *_: nullcontext("amqp://x//"))
    with (
        broker.broker(),
        pytest.raises(broker.StartError, match=r"`make broker` or `make demo` in another"),
    ):
        broker.broker().__enter__()
    with broker.broker() as url:
        assert url == "amqp://x//"


def test_a_container_is_reached_from_this_machine_only() -> None:
    command = broker.docker_command(5673)
    assert command[:5] == ["docker", "run", "--rm", "-p", "127.0.0.1:5673:5672"]
    compose = (Path(__file__).parents[3] / "docker-compose.yml").read_text()
    assert f"image: {command[-1]}" in compose
    assert command[-2].partition("=")[2] in compose


def test_the_usual_port_is_left_to_whoever_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert broker.usual_port(port) != port
    assert broker.usual_port(port) == port


def test_what_to_export_is_told() -> None:
    assert "export CELERY_BROKER_URL=amqp://x//\n" in broker.how_to_use("amqp://x//")


def test_settings_around_the_demo_do_not_lead_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("SMS_CONFIG", "mine.yml")
    found = demo.environment("amqp://here//")
    assert found["CELERY_BROKER_URL"] == "amqp://here//"
    assert found["SMS_DATABASE_URL"].startswith("sqlite:////")
    assert "SMS_CONFIG" not in found
    assert "PATH" in found


def test_every_profile_has_a_worker() -> None:
    assert list(demo.commands()) == [*(one.name for one in DEFAULT_SENDERS), "dashboard"]


@pytest.mark.parametrize(
    ("variables", "platform", "can"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "firefox"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_a_browser_is_opened_where_there_is_a_screen(
    variables: dict[str, str], platform: str, can: bool
) -> None:
    assert demo.can_open_browser(variables, platform) == can
