"""Secrets from files: `NAME_FILE` names the file that has the value of `NAME`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from sms_pipeline.errors import ConfigError

#: Variables that hold a password: their value may be in a file, as container engines hand it over.
SECRETS = ("CELERY_BROKER_URL", "SMS_DATABASE_URL", "SMS_DASHBOARD_PASSWORD")
FILE_SUFFIX = "_FILE"
#: No URL and no password is longer.
MOST_BYTES = 10_000


def read_secrets(values: Mapping[str, str | None]) -> dict[str, str]:
    """The secrets that variables of `values` name files of; no error repeats one.

    Raises:
        ConfigError: a secret is given in both ways, or its file can't be read.
    """
    return {
        name: _secret(name, path)
        for name in SECRETS
        if (path := values.get(f"{name}{FILE_SUFFIX}")) and _is_alone(name, values)
    }


def _is_alone(name: str, values: Mapping[str, str | None]) -> bool:
    if values.get(name):
        raise ConfigError(f"{name} and {name}{FILE_SUFFIX}: both are set; keep one")
    return True


def _secret(name: str, path: str) -> str:
    variable = f"{name}{FILE_SUFFIX}"
    try:
        content = _read(Path(path))
        # Editors and `echo` end a file with a newline that is no part of the secret.
        secret = content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{variable}: {path!r} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{variable}: {path!r} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{variable}: {path!r} can't be read: {error}") from error
    if not secret or not secret.isprintable():
        raise ConfigError(f"{variable}: {path!r} must have one line, and nothing else")
    return secret


def _read(path: Path) -> bytes:
    # A pipe that nobody writes to would hold us up.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} bytes")
    return content
