"""Files that a user names are read at once and whole, or refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sms_pipeline.config.files import load_simulation
from sms_pipeline.config.reading import MAX_BYTES, read_text, shown
from sms_pipeline.config.settings import load_settings
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.views.dashboard import read_password

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(params=["pipe", "device", "link"])
def endless(request: pytest.FixtureRequest) -> Path:
    """Something that is opened like a file and never ends."""
    path = Path("endless")
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "link":
        path.symlink_to("/dev/zero")
    else:
        path = Path("/dev/zero")
    return path


def test_text_is_read_whole() -> None:
    path = Path("a")
    path.write_text("ä\n" + "b" * (MAX_BYTES - 3))
    assert read_text(path) == "ä\n" + "b" * (MAX_BYTES - 3)


def test_what_never_ends_is_refused(endless: Path) -> None:
    for read in (load_simulation, read_password):
        with pytest.raises(ConfigError, match=r"endless|/dev/zero"):
            read(endless)
    with pytest.raises(ConfigError, match="a pipe or a device, not a file"):
        read_text(endless)


def test_a_dotenv_that_nobody_writes_to_is_refused() -> None:
    os.mkfifo(".env")
    with pytest.raises(ConfigError, match=r"\.env: can't be read: it is a pipe"):
        load_settings({})


def test_what_is_too_long_is_refused() -> None:
    path = Path("long")
    path.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=r"^long: can't be read: .* longer than 1,000,000 bytes"):
        read_text(path)


@pytest.mark.parametrize(
    ("path", "reason"), [("none", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")]
)
def test_what_can_not_be_read_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"can't be read: .*{reason}"):
        read_text(Path(path))


def test_a_name_is_shown_on_one_line() -> None:
    assert shown(Path("a\nb\x1b[2J")) == r"a\nb\u001b[2J"
