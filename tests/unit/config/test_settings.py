"""Where things are: the environment over `.env` over the defaults, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sms_pipeline.config.settings import DEFAULT_DATABASE_URL, ENVIRONMENT, load_settings
from sms_pipeline.core.errors import ConfigError

pytestmark = pytest.mark.usefixtures("clean")


def test_settings_without_any_variable() -> None:
    found = load_settings({})
    assert found.embedded
    assert found.database_url == DEFAULT_DATABASE_URL
    assert (found.config, found.log_level, found.queue_type) == (None, "WARNING", "quorum")


def test_variables_set_the_settings() -> None:
    found = load_settings(
        {
            "CELERY_BROKER_URL": "amqp://host",
            "SMS_DATABASE_URL": "postgresql://host/db",
            "SMS_CONFIG": "alert.yml",
            "SMS_LOG_LEVEL": "DEBUG",
            "SMS_QUEUE_TYPE": "classic",
            "SMS_PROFILE": "slow",
            "SMS_SENDERS": "50",
        }
    )
    assert not found.embedded
    assert found.broker_url == "amqp://host"
    assert found.database_url == "postgresql://host/db"
    assert found.config == Path("alert.yml")
    assert (found.log_level, found.queue_type) == ("DEBUG", "classic")
    assert (found.profile, found.senders) == ("slow", 50)


def test_dotenv_is_found_in_a_parent_folder_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("SMS_LOG_LEVEL=INFO\nSMS_QUEUE_TYPE=classic\n")
    folder = Path("a/b")
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    found = load_settings({"SMS_LOG_LEVEL": "ERROR"})
    assert (found.log_level, found.queue_type) == ("ERROR", "classic")


def test_dotenv_does_not_change_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SMS_LOG_LEVEL=INFO\n")
    load_settings()
    assert "SMS_LOG_LEVEL" not in os.environ


def test_empty_variables_are_not_set() -> None:
    assert load_settings(dict.fromkeys(ENVIRONMENT, "")) == load_settings({})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("SMS_LOG_LEVEL", "LOUD", "WARNING"), ("SMS_QUEUE_TYPE", "stream", "quorum, classic")],
)
def test_bad_variable_is_refused(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: .*{allowed}.*'{value}'"):
        load_settings({name: value})


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "10000001", "9" * 5_000, "\u0663"])
def test_senders_are_a_whole_number(value: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^SMS_SENDERS: must be a whole number from 1 to 10000000"
    ):
        load_settings({"SMS_SENDERS": value})


@pytest.mark.parametrize("name", ["SMS_DATABASE_URL", "SMS_DASHBOARD_PASSWORD"])
def test_variable_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: is not UTF-8 text$"):
        load_settings({name: "\udcff"})


def test_dotenv_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"SMS_CONFIG=\xff")
    with pytest.raises(ConfigError, match=r"\.env: is not UTF-8 text \(byte 11\)$"):
        load_settings({})


def test_folder_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"^\.env: can't be read: No such file"):
        load_settings({})
