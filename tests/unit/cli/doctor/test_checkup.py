"""What is looked at, for which set-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from sms_pipeline.cli.doctor.check import Check, State
from sms_pipeline.cli.doctor.checkup import subjects_of, threads_wanted
from sms_pipeline.cli.doctor.examination import examine
from sms_pipeline.config.places import is_elsewhere
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.worker.in_hand import threads_of


def names(settings: Settings) -> list[str]:
    """Of the checks that can come."""
    return [step.name for steps in subjects_of(settings, None) for step in steps]


def checks_of(settings: Settings, file: Path | None = None) -> dict[str, Check]:
    """All that needs no server."""
    return {check.name: check for check in examine(subjects_of(settings, file))}


def test_without_a_broker_there_is_nothing_to_ask_of_one(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/ledger.db")
    checks = checks_of(settings)
    assert {check.state for check in checks.values()} == {State.OK}
    assert "user rights" not in checks
    assert not list(tmp_path.iterdir())


def test_each_broker_is_looked_at() -> None:
    settings = Settings(broker_url="amqp://a;amqp://b:7//")
    assert {"broker a:5672", "broker b:7", "delayed delivery"} <= set(names(settings))


def test_retries_do_not_wait_at_the_broker_on_classic_queues() -> None:
    settings = Settings(broker_url="amqp://a", queue_type="classic")
    assert "dead-letter timeout" not in names(settings)


def test_a_configuration_that_can_not_be_used_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "alert.yml"
    file.write_text("num_messages: -1")
    checks = checks_of(Settings(database_url=f"sqlite:///{tmp_path}/ledger.db"), file)
    assert checks["configuration"].state is State.FAULT
    assert "num_messages" in checks["configuration"].finding
    assert checks["threads"].state is State.OK


def test_a_database_url_that_is_none(tmp_path: Path) -> None:
    checks = checks_of(Settings(database_url="mysql://u:secret@h/x"))
    assert checks["ledger"].state is State.FAULT
    assert "secret" not in checks["ledger"].finding


def test_one_process_for_all_profiles_needs_the_threads_of_them_all() -> None:
    simulation = Simulation()
    # 50 to spare for each profile
    assert threads_wanted(simulation, Settings()) > 150


@pytest.mark.parametrize(("queue_type", "times"), [("quorum", 2), ("classic", 1)])
def test_a_worker_needs_threads_for_urgent_batches_too(queue_type: str, times: int) -> None:
    settings = Settings(broker_url="amqp://host", queue_type=queue_type)
    most = max(threads_of(simulation := Simulation()).values())
    assert threads_wanted(simulation, settings) == times * most


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", False),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("10.0.0.1", True),
        ("rabbitmq", True),
    ],
)
def test_whether_a_host_is_another_one(host: str, expected: bool) -> None:
    assert is_elsewhere(host) is expected


def test_a_file_as_ledger_and_a_broker_elsewhere(tmp_path: Path) -> None:
    (steps,) = (
        steps
        for steps in subjects_of(Settings(broker_url="amqp://rabbit.invalid"), None)
        if steps[0].name == "ledger"
    )
    (check,) = next(step for step in steps if step.name == "hosts").run()
    assert check.state is State.WARNING
