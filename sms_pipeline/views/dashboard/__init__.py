"""The web page of all runs. Optional: its packages are the extra `dashboard`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sms_pipeline.errors import ConfigError, MissingPackagesError

#: The packages it needs.
PACKAGES = ("tornado", "plotly")


def require_packages() -> None:
    """Look for the extra's packages without importing them.

    Raises:
        MissingPackagesError: one is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackagesError(
            f"the dashboard needs {' and '.join(missing)}; "
            "install with: pip install 'sms-pipeline[dashboard]', or '.[dashboard]' in its folder"
        )


def read_password(file: Path | None) -> str | None:
    """The first line of `file`; None without one.

    Raises:
        ConfigError: it can't be read, or is empty.
    """
    if file is None:
        return None
    try:
        password = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigError(f"--password-file {file}: can't be read: {reason}") from error
    if not password:
        raise ConfigError(f"--password-file {file}: its first line is empty")
    return password
