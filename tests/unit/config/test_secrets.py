"""Secrets that are in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sms_pipeline.config.reading import MAX_BYTES
from sms_pipeline.config.secrets import SECRETS, read_secrets
from sms_pipeline.config.settings import ENVIRONMENT, Settings, load_settings
from sms_pipeline.core.errors import ConfigError

pytestmark = pytest.mark.usefixtures("clean")

URL = "amqp://user:hush@host//"


def write(content: bytes | str, name: str = "secret") -> str:
    path = Path(name)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def refusal(path: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load_settings({"CELERY_BROKER_URL_FILE": path})
    assert "hush" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("content", [URL, f"{URL}\n"])
def test_secret_is_what_is_in_the_file_without_the_newline_at_its_end(content: str) -> None:
    assert load_settings({"CELERY_BROKER_URL_FILE": write(content)}).broker_url == URL


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_can_be_in_a_file(name: str) -> None:
    assert read_secrets({f"{name}_FILE": write(" hush ")}) == {name: " hush "}
    assert name in ENVIRONMENT


def test_dotenv_may_name_the_file() -> None:
    write("hush", "password")
    Path(".env").write_text("SMS_DASHBOARD_PASSWORD_FILE=password\n")
    assert load_settings({}).dashboard_password == "hush"  # noqa: S105 - made up


def test_variable_without_a_value_names_no_file() -> None:
    assert load_settings({"CELERY_BROKER_URL_FILE": ""}) == Settings()


def test_secret_may_be_behind_a_link() -> None:
    # As Kubernetes mounts them.
    path = write(URL)
    Path("link").symlink_to(path)
    assert load_settings({"CELERY_BROKER_URL_FILE": "link"}).broker_url == URL


def test_secret_in_both_ways_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({"CELERY_BROKER_URL_FILE": write(URL), "CELERY_BROKER_URL": URL})
    assert str(refused.value) == (
        "CELERY_BROKER_URL and CELERY_BROKER_URL_FILE: both are set; keep one"
    )
    # An empty variable is not set
    load_settings({"CELERY_BROKER_URL_FILE": write(URL), "CELERY_BROKER_URL": ""})


def test_file_that_is_not_there_is_one_line() -> None:
    assert (
        refusal("none") == "CELERY_BROKER_URL_FILE: none: can't be read: No such file or directory"
    )


@pytest.mark.parametrize("content", ["", "\n", "hush\nhush", "hush\n\n", "hush\r\n", "\0"])
def test_secret_is_one_line(content: str) -> None:
    told = refusal(write(content))
    assert told == "CELERY_BROKER_URL_FILE: secret: must have one line, and nothing else"


def test_secret_is_text() -> None:
    assert (
        refusal(write(b"hush\xff")) == "CELERY_BROKER_URL_FILE: secret: is not UTF-8 text (byte 4)"
    )


def test_file_that_never_ends_is_refused() -> None:
    os.mkfifo("pipe")
    for path in ("/dev/zero", "pipe"):
        assert refusal(path).endswith("can't be read: it is a pipe or a device, not a file")
    assert "longer than" in refusal(write("x" * (MAX_BYTES + 1)))
    assert refusal(".").endswith("can't be read: Is a directory")


def test_path_may_be_anything_but_is_told_on_one_line() -> None:
    for path in ("a\nb", "a\0b", "\udcff"):
        assert refusal(path).isprintable()
