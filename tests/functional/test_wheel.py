"""The installed package: a worker starts wherever it is started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import wheel as wheels
from tests.services.worker import WorkerProcess

#: What a user's own project may have in its folder.
HOSTILE = """\
task_acks_late = False
worker_consumer = "celery.worker.consumer:Consumer"
raise SystemExit("another project's settings were read")
"""


@pytest.mark.parametrize("hostile", [False, True], ids=["empty", "hostile"])
def test_an_installed_worker_starts_in_any_folder(
    wheel: Path, tmp_path: Path, start_worker: Callable[..., WorkerProcess], hostile: bool
) -> None:
    installed = wheels.install(wheel, tmp_path / "installed")
    folder = tmp_path / "folder"
    folder.mkdir()
    if hostile:
        (folder / "celeryconfig.py").write_text(HOSTILE)
    environment = {"PYTHONPATH": str(installed)}
    assert _imported(folder, environment).is_relative_to(installed)
    assert start_worker("fast", environment, cwd=folder).running


def _imported(folder: Path, environment: dict[str, str]) -> Path:
    """Where Python finds the package."""
    script = "import sms_pipeline; print(sms_pipeline.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())
