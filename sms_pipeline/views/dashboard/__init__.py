"""The web page of all runs. Optional: its packages are the extra `dashboard`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from sms_pipeline.config.reading import read_text, shown
from sms_pipeline.core.errors import ConfigError, MissingPackagesError

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
            f"install it with: {sys.executable} -m pip install {' '.join(missing)}"
        )


def read_password(file: Path | None) -> str | None:
    """The first line of `file`; None without one.

    Raises:
        ConfigError: it can't be read, or is empty.
    """
    if file is None:
        return None
    name = f"--password-file {shown(file)}"
    password = read_text(file, name).partition("\n")[0].rstrip("\r")
    if not password:
        raise ConfigError(f"{name}: its first line is empty")
    return password
