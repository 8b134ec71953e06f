"""Reads the small text files that a user names: a configuration, a password."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sms_pipeline.core.errors import ConfigError, printable

#: No file that somebody wrote by hand is longer.
MAX_BYTES = 1_000_000


def read_text(path: Path, what: str | None = None) -> str:
    """The text of a file.

    Args:
        path: where it is.
        what: what an error calls it; None: the path.

    Raises:
        ConfigError: it can't be read, is too long, or is not text; or it is no file, and might
            never end.
    """
    name = what or shown(path)
    try:
        content = _read_bytes(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"{name}: can't be read: {reason or error}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name}: can't be read: it is longer than {MAX_BYTES:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: is not UTF-8 text (byte {error.start})") from error


def shown(path: Path) -> str:
    """A path on one line."""
    return printable(str(path)).replace("\n", "\\n")


def _read_bytes(path: Path) -> bytes:
    """What is in the file; if that is too much, a little more than is allowed."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is a pipe or a device, not a file")
        return file.read(MAX_BYTES + 1)


def _open_at_once(path: str, flags: int) -> int:
    # A pipe that nobody writes to would hold us up.
    return os.open(path, flags | os.O_NONBLOCK)
