"""The files in deploy/: every option, variable, path and column that they use exists."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from sqlalchemy import text

from sms_pipeline.config.address import parse_address
from sms_pipeline.config.secrets import FILE_SUFFIX, SECRETS
from sms_pipeline.config.settings import ENVIRONMENT
from sms_pipeline.core.records import Control
from sms_pipeline.core.simulation import DEFAULT_SENDERS
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.probes import LIVE_PATH, READY_PATH
from sms_pipeline.worker.shutdown import HARD_STOP_SECONDS, require_drain
from tests.unit import make
from tests.unit.test_compose import COMPOSE as MAIN_COMPOSE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "workers.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNIT = DEPLOY / "sms-worker@.service"
MANIFEST = (DEPLOY / "kubernetes" / "worker-fast.yaml").read_text()
SECRET = yaml.safe_load((DEPLOY / "kubernetes" / "secret.example.yaml").read_text())
PROFILES = {profile.name: profile for profile in DEFAULT_SENDERS}
VARIABLES = {*ENVIRONMENT, *(f"{name}{FILE_SUFFIX}" for name in SECRETS)}
COMMAND_SECONDS = 30
A_MINUTE = 60


def worker_options(words: list[str]) -> dict[str, Any]:
    """What a worker's command line says, taken apart as Celery does; none of it may be unknown."""
    from celery.bin.worker import worker

    from sms_pipeline.celery import app

    assert Path(words[0]).name == "celery"
    assert words[1:4] == ["-A", "sms_pipeline", "worker"]
    params = [*worker.params, *app.user_options["worker"]]
    command = click.Command("worker", params=params)
    given, rest, _ = command.make_parser(click.Context(command)).parse_args(words[4:])
    assert not rest
    require_drain(float(given["drain"]))
    return given


def kinds(manifest: str = MANIFEST) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(manifest)}


def seconds(span: str) -> int:
    assert span.endswith("s")
    return int(span[:-1])


def values(node: Any) -> Iterator[str]:
    """Every scalar."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from values(one)
    else:
        yield str(node)


# Compose


def test_compose_has_a_worker_for_each_default_profile() -> None:
    assert SERVICES.keys() == PROFILES.keys()
    for name, service in SERVICES.items():
        environment = service["environment"]
        assert environment["SMS_PROFILE"] == name
        assert environment.keys() <= VARIABLES
        given = worker_options(shlex.split(service["command"]))
        assert float(given["drain"]) + HARD_STOP_SECONDS < seconds(service["stop_grace_period"])
        assert given["health"] in service["healthcheck"]["test"]


def test_compose_checks_workers_as_the_main_file_does() -> None:
    checks = {str(service["healthcheck"]) for service in SERVICES.values()}
    assert checks == {str(MAIN_COMPOSE["services"]["fast"]["healthcheck"])}


def test_compose_has_its_secrets_in_files_that_are_not_in_the_repository() -> None:
    mounted = {f"/run/secrets/{name}" for name in COMPOSE["secrets"]}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for service in SERVICES.values():
        files = {v for k, v in service["environment"].items() if k.endswith(FILE_SUFFIX)}
        assert files == mounted
        assert {f"/run/secrets/{name}" for name in service["secrets"]} == mounted
    for secret in COMPOSE["secrets"].values():
        assert f"deploy/{Path(secret['file']).parent}/" in ignored


def test_compose_opens_no_port() -> None:
    for service in SERVICES.values():
        assert not service.keys() & {"ports", "container_name", "hostname"}
        assert service["network_mode"] == "host"


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and ran([*command, "version"]).returncode == 0:
            done = ran([*command, "-f", str(DEPLOY / "workers.yml"), "config"])
            assert done.returncode == 0, done.stderr
            assert yaml.safe_load(done.stdout)["services"].keys() == PROFILES.keys()
            return
    pytest.skip("neither 'docker compose' nor docker-compose is installed")


def ran(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )


# systemd


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    """The settings of the section Service."""

    class Many(dict[str, Any]):
        """A unit may set one thing several times."""

        def __setitem__(self, key: str, value: Any) -> None:
            if key in self and isinstance(value, list):
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(strict=False, dict_type=Many)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return {key: value.splitlines() for key, value in parser["Service"].items()}


def test_unit_starts_a_worker_of_its_instance(unit: dict[str, list[str]]) -> None:
    (line,) = unit["ExecStart"]
    given = worker_options(shlex.split(line.replace("%i", "fast").replace("%t", "/run")))
    (folder,) = unit["RuntimeDirectory"]
    assert given["health"] == f"/run/{folder.replace('%i', 'fast')}/health.json"
    assert float(given["drain"]) + HARD_STOP_SECONDS < int(unit["TimeoutStopSec"][0])
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_unit_sets_variables_that_exist_and_secrets_that_are_loaded(
    unit: dict[str, list[str]],
) -> None:
    variables = dict(entry.split("=", 1) for entry in unit["Environment"])
    loaded = {entry.partition(":")[0] for entry in unit["LoadCredential"]}
    assert variables.pop("SMS_PROFILE") == "%i"
    assert variables.keys() <= VARIABLES
    assert {value.removeprefix("%d/") for value in variables.values()} == loaded


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # Given the unit with a program that is there
    installed = UNIT.read_text().replace("/opt/sms-pipeline/bin/celery", sys.executable)
    (tmp_path / "sms-worker@fast.service").write_text(installed)
    done = ran(["systemd-analyze", "verify", "--man=no", str(tmp_path / "sms-worker@fast.service")])
    told = [line for line in done.stderr.splitlines() if "sms-worker" in line]
    assert (done.returncode, told) == (0, []), done.stderr


# Kubernetes


def container(manifest: str = MANIFEST) -> dict[str, Any]:
    (only,) = kinds(manifest)["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_manifest_is_that_of_any_profile(profile: str) -> None:
    manifest = re.sub("fast", profile, MANIFEST)
    parts = kinds(manifest)
    pods = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert parts["Deployment"]["spec"]["selector"]["matchLabels"] == pods
    assert pods["profile"] == profile
    variables = {one["name"]: one["value"] for one in container(manifest)["env"]}
    assert variables["SMS_PROFILE"] == profile
    assert variables.keys() <= VARIABLES
    scaled = parts["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == parts["Deployment"]["metadata"]["name"]
    (trigger,) = scaled["triggers"]
    granted = parts["TriggerAuthentication"]["metadata"]["name"]
    assert trigger["authenticationRef"]["name"] == granted
    names = {one["metadata"]["name"] for one in parts.values()}
    assert all(name.endswith(f"-{profile}") for name in names)


def test_probes_ask_where_the_worker_answers() -> None:
    only = container()
    given = worker_options([*only["command"], *only["args"]])
    (port,) = only["ports"]
    assert parse_address(given["health"], "--health").port == port["containerPort"]
    assert only["livenessProbe"]["httpGet"] == {"path": LIVE_PATH, "port": port["name"]}
    assert only["readinessProbe"]["httpGet"] == {"path": READY_PATH, "port": port["name"]}


def test_pod_is_not_killed_while_it_drains() -> None:
    only = container()
    drain = worker_options([*only["command"], *only["args"]])["drain"]
    grace = kinds()["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert float(drain) + HARD_STOP_SECONDS < grace


def test_secrets_are_mounted_where_variables_say() -> None:
    pod = kinds()["Deployment"]["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if "secret" in one)
    assert volume["secret"]["secretName"] == SECRET["metadata"]["name"]
    (mount,) = (one for one in container()["volumeMounts"] if one["name"] == volume["name"])
    files = {one["value"] for one in container()["env"] if one["name"].endswith(FILE_SUFFIX)}
    assert files == {f"{mount['mountPath']}/{key}" for key in SECRET["stringData"]}
    (reference,) = kinds()["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert reference["name"] == SECRET["metadata"]["name"]
    assert reference["key"] in SECRET["stringData"]


def test_no_password_is_written_down() -> None:
    urls = [value for value in values(SECRET) if "://" in value]
    assert {urlsplit(url).password for url in urls} == {"PASSWORD"}
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.is_file()]
    for told in texts:
        assert set(re.findall(r"://[^/\s:@]*:([^@\s]*)@", told)) <= {"PASSWORD"}
    assert "deploy/kubernetes/secret.yaml" in (ROOT / ".gitignore").read_text().splitlines()


def trigger() -> dict[str, str]:
    (only,) = kinds()["ScaledObject"]["spec"]["triggers"]
    metadata: dict[str, str] = only["metadata"]
    return metadata


def wanted(ledger: Ledger) -> int:
    """What the autoscaler reads."""
    with ledger.reading() as connection:
        found = connection.execute(text(trigger()["query"])).scalar_one()
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_workers_follow_the_messages_that_have_not_ended(database_url: str) -> None:
    with closing(Ledger.open(database_url)) as ledger:
        follow_messages(ledger)


def follow_messages(ledger: Ledger) -> None:
    assert wanted(ledger) == 0
    run = ledger.start_run(make.simulation(num_messages=100), seed=7)
    # What is not dispatched counts, too
    assert wanted(ledger) == 100
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([
        make.settlement(run.id, delivered=7, failed=1, retried=2, failed_indexes=(0,),
                        remainder=make.bitmap(1, 2))
    ])  # fmt: skip
    assert wanted(ledger) == 92
    other = ledger.start_run(make.simulation(num_messages=50), seed=8)
    assert wanted(ledger) == 142
    ledger.control(other.id, Control.PAUSED)
    assert wanted(ledger) == 92


def test_target_is_what_a_worker_does_in_a_minute() -> None:
    assert float(trigger()["targetQueryValue"]) == PROFILES["fast"].capacity * A_MINUTE
