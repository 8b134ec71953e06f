"""The package as it is installed."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: All that a wheel is built from.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "sms_pipeline")
#: The oldest that knows a licence expression, as in pyproject.toml's build requirement.
OLDEST_SETUPTOOLS = 77
BUILD_SECONDS = 60


def unavailable() -> str | None:
    """Why it can't be built here, if it can't."""
    installed = importlib.metadata.version("setuptools")
    if int(installed.partition(".")[0]) < OLDEST_SETUPTOOLS:
        return f"setuptools {installed} can't build it; install requirements-dev.lock"
    return None


def build(source: Path, built: Path) -> Path:
    """Build it from a copy in `source`: setuptools leaves things behind where it builds."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name)
        else:
            shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, source],
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = built.glob("*.whl")
    return found


def install(wheel: Path, folder: Path) -> Path:
    """Put its files where Python finds them, when `folder` is on its path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder
