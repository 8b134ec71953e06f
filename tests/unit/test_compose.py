"""The compose file and what belongs to it, checked without a container engine.

`compose config` is run too, where such a program is installed; it needs no engine either.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import dotenv
import pytest
import yaml

from sms_pipeline.core.simulation import DEFAULT_SENDERS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = {profile.name for profile in DEFAULT_SENDERS}
#: They end by themselves, so there is no health to check.
ONE_SHOT = {"producer", "monitor"}

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:[?-])(?P<rest>[^}]*))?\}")
#: Variables that must be set, and some that are.
REQUIRED = {match["name"] for match in VARIABLE.finditer(TEXT) if match["kind"] == ":?"}
VALUES = {name: f"made-up-{number}" for number, name in enumerate(sorted(REQUIRED))}

COMMAND_SECONDS = 30


def _substituted(text: str) -> str:
    """`text` as compose passes it on."""
    text = VARIABLE.sub(lambda match: VALUES.get(match["name"]) or match["rest"], text)
    return text.replace("$$", "$")


def _words(service: str) -> list[str]:
    return shlex.split(_substituted(SERVICES[service]["command"]))


def _check(service: str) -> str:
    test = SERVICES[service]["healthcheck"]["test"]
    return _substituted(test if isinstance(test, str) else shlex.join(test[1:]))


def _values(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every scalar with the key it is under."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _values(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, key)
    else:
        yield key, str(node)


def _in_our_image() -> list[str]:
    return [name for name, service in SERVICES.items() if "build" in service]


# Images


def test_every_foreign_image_names_its_version() -> None:
    foreign = {name: s["image"] for name, s in SERVICES.items() if "build" not in s}

    assert foreign.keys() == {"rabbitmq", "postgres", "prometheus", "grafana"}
    for image in foreign.values():
        assert re.fullmatch(r"([a-z]+/)?[a-z]+:v?\d+(\.\d+)*(-[a-z]+)?", image), image
    # RabbitMQ changes behaviour between minor versions.
    assert re.match(r"rabbitmq:\d+\.\d+.*-management$", foreign["rabbitmq"])


def test_no_image_is_the_latest() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    for image in images:
        assert ":" in image, image
        assert not image.endswith(":latest")


def test_our_services_share_one_image() -> None:
    assert set(_in_our_image()) == WORKERS | ONE_SHOT | {"flower", "dashboard", "metrics"}
    assert len({SERVICES[name]["image"] for name in _in_our_image()}) == 1


def test_the_image_runs_as_a_user_and_from_checked_packages() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]

    assert any(line.startswith("USER ") and line != "USER root" for line in final)
    installs = [line for line in lines if " install " in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_all_that_the_image_is_made_of_is_let_in_and_nothing_else() -> None:
    copied = {
        name.removeprefix("./")
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


# Secrets and doors


def test_no_password_is_written_down() -> None:
    for key, value in _values(COMPOSE):
        if re.search("pass|secret|auth|token", key, re.IGNORECASE):
            assert VARIABLE.search(value), key
        for password in re.findall(r"://[^/\s:@]*:([^@\s]*)@", value):
            assert VARIABLE.fullmatch(password), key


def test_every_password_is_required_with_a_hint() -> None:
    servers = ("RABBITMQ", "POSTGRES", "FLOWER", "DASHBOARD", "GRAFANA")
    assert {f"{server}_PASSWORD" for server in servers} == REQUIRED
    for match in VARIABLE.finditer(TEXT):
        assert match["kind"] != ":?" or ".env.example" in match["rest"]


def test_the_example_names_every_variable_and_no_password() -> None:
    example = dotenv.dotenv_values(ROOT / ".env.example")

    assert example.keys() == {match["name"] for match in VARIABLE.finditer(TEXT)}
    assert not any(example[name] for name in REQUIRED)
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_ports_are_open_on_this_machine_only() -> None:
    ports = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}

    assert ports.keys() == {"rabbitmq", "dashboard", "flower", "prometheus", "grafana"}
    for published in ports.values():
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_flower_asks_for_a_password() -> None:
    assert VARIABLE.search(SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"])
    assert "UNAUTHENTICATED" not in TEXT.upper()


def test_grafana_has_a_password_and_lets_nobody_else_in() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert VARIABLE.search(environment["GF_SECURITY_ADMIN_PASSWORD"])
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert "ANONYMOUS" not in TEXT.upper()


# Services


def test_who_does_not_ask_for_observability_gets_none() -> None:
    profiles = {name: s["profiles"] for name, s in SERVICES.items() if "profiles" in s}
    assert profiles == {key: ["observability"] for key in ("metrics", "prometheus", "grafana")}


def test_every_file_that_is_mounted_is_there() -> None:
    mounts = [mount for s in SERVICES.values() for mount in s.get("volumes", [])]
    files = [mount.split(":") for mount in mounts if mount.startswith(".")]
    assert len(files) == 5
    for file, _, mode in files:
        assert (ROOT / file).is_file(), file
        assert mode == "ro"
    named = {mount.partition(":")[0] for mount in mounts if not mount.startswith(".")}
    assert named == COMPOSE["volumes"].keys()


def test_there_is_a_worker_for_each_default_profile_and_each_can_be_multiplied() -> None:
    for name in WORKERS:
        service = SERVICES[name]
        assert _words(name)[:5] == ["celery", "-A", "sms_pipeline", "worker", "--profile"]
        assert _words(name)[5] == name
        assert not service.keys() & {"container_name", "hostname", "ports"}
        assert "stop_grace_period" in service


def test_what_runs_on_has_a_health_check() -> None:
    checked = {name for name, service in SERVICES.items() if "healthcheck" in service}

    assert checked == SERVICES.keys() - ONE_SHOT


def test_everything_of_ours_waits_for_its_servers() -> None:
    for name in _in_our_image():
        service = SERVICES[name]
        for server in ("rabbitmq", "postgres"):
            if server in str(service["environment"]):
                assert service["depends_on"][server] == {"condition": "service_healthy"}, name


@pytest.mark.parametrize("service", sorted(WORKERS))
@pytest.mark.parametrize(("age", "healthy"), [(0, True), (10, True), (20, False), (None, False)])
def test_worker_is_healthy_while_its_file_is_fresh(
    service: str, age: int | None, healthy: bool, tmp_path: Path
) -> None:
    # Given the file that its command line names, as the worker left it
    words = _words(service)
    named = words[words.index("--health") + 1]
    file = tmp_path / "health.json"
    if age is not None:
        file.write_text("{}")
        os.utime(file, times=(time.time() - age,) * 2)
    # When its check is run on it
    assert named in _check(service)
    check = _check(service).replace(named, str(file))
    done = subprocess.run(["/bin/sh", "-c", check], check=False, timeout=COMMAND_SECONDS)
    # Then it tells
    assert (done.returncode == 0) is healthy


# Command lines


@pytest.mark.parametrize("service", [*sorted(ONE_SHOT), "dashboard", "metrics"])
def test_our_commands_are_accepted(service: str) -> None:
    from sms_pipeline.cli.main import cli

    program, command, *arguments = _words(service)

    assert program == "sms-pipeline"
    parent = click.Context(cli, **cli.context_settings)
    cli.commands[command].make_context(command, arguments, parent)


@pytest.mark.parametrize("service", sorted(WORKERS))
def test_celerys_worker_has_the_options(service: str) -> None:
    from celery.bin.worker import worker

    from sms_pipeline.celery import app

    # Given Celery's own options and those that the app adds
    params = [*worker.params, *app.user_options["worker"]]
    options = {option for param in params for option in param.opts}

    # When the words are taken apart as Celery does, then none is unknown and none is left
    command = click.Command("worker", params=params)
    given, rest, _ = command.make_parser(click.Context(command)).parse_args(_words(service)[4:])
    assert {"--profile", "--loglevel", "--health"} <= options
    assert given["profile"] == service
    assert not rest


def test_flower_has_the_options_and_the_environment_variables() -> None:
    import flower.options  # noqa: F401 - defines them
    from tornado.options import options

    words = _words("flower")
    named = [word.removeprefix("--").partition("=")[0] for word in words[4:]]
    named += [
        name.removeprefix("FLOWER_").lower()
        for name in SERVICES["flower"]["environment"]
        if name.startswith("FLOWER_")
    ]

    assert words[:4] == ["celery", "-A", "sms_pipeline", "flower"]
    assert {name.replace("-", "_") for name in named} <= {
        name.replace("-", "_") for name in options
    }


# The program itself


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A program that reads compose files, told to leave the developer's own .env alone."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _run([*command, "version"], {}).returncode == 0:
            empty = tmp_path_factory.mktemp("compose") / "env"
            empty.touch()
            return [*command, "--env-file", str(empty), "-f", str(ROOT / "docker-compose.yml")]
    pytest.skip("neither 'docker compose' nor docker-compose is installed")


def _run(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in REQUIRED}
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=kept | variables,
        timeout=COMMAND_SECONDS,
    )


def test_compose_accepts_the_file(compose: list[str]) -> None:
    done = _run([*compose, "--profile", "observability", "config"], VALUES)

    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)["services"]
    assert resolved.keys() == SERVICES.keys()
    assert VALUES["RABBITMQ_PASSWORD"] in resolved["fast"]["environment"]["CELERY_BROKER_URL"]


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_compose_says_which_password_is_missing(compose: list[str], missing: str) -> None:
    done = _run([*compose, "config"], {name: VALUES[name] for name in REQUIRED - {missing}})

    assert done.returncode != 0
    assert missing in done.stderr
    assert ".env.example" in done.stderr
