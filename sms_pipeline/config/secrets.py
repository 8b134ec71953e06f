"""Secrets from files: `NAME_FILE` names the file that has the value of `NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sms_pipeline.config.reading import read_text, shown
from sms_pipeline.core.errors import ConfigError

#: Variables that hold a password: their value may be in a file, as container engines hand it over.
SECRETS = ("CELERY_BROKER_URL", "SMS_DATABASE_URL", "SMS_DASHBOARD_PASSWORD")
FILE_SUFFIX = "_FILE"


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
    # Editors and `echo` end a file with a newline that is no part of the secret.
    secret = read_text(Path(path), f"{variable}: {shown(Path(path))}").removesuffix("\n")
    if not secret or not secret.isprintable():
        raise ConfigError(f"{variable}: {shown(Path(path))}: must have one line, and nothing else")
    return secret
