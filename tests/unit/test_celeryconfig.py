"""Every setting is there because Celery's default would not do, and says why."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery.app.defaults import DEFAULTS

from sms_pipeline.celery import app

ROOT = Path(__file__).parents[2]
FILE = ROOT / "sms_pipeline" / "celeryconfig.py"
SOURCE = FILE.read_text()
NAMES = [
    node.targets[0].id
    for node in ast.parse(SOURCE).body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    if not node.targets[0].id.startswith("_")
]


@pytest.fixture
def config(clean: Path) -> dict[str, Any]:
    """The settings as they are when nothing is set in the environment."""
    return runpy.run_path(str(FILE))


@pytest.mark.parametrize("name", NAMES)
def test_setting_exists_in_celery(name: str) -> None:
    assert name in DEFAULTS


@pytest.mark.parametrize("name", NAMES)
def test_setting_differs_from_celerys_default(name: str, config: dict[str, Any]) -> None:
    default = DEFAULTS[name]
    assert config[name] != (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("name", NAMES)
def test_setting_says_why(name: str) -> None:
    # The reason stands above the setting, or above the group of lines that it belongs to
    assert re.search(rf"^#: .+\n(#.*\n|[a-z_]+ = .*\n)*{name} = ", SOURCE, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_setting_is_in_effect(name: str, config: dict[str, Any]) -> None:
    assert app.conf[name] == config[name]


def test_the_file_at_the_top_of_the_repository_has_the_same_settings(clean: Path) -> None:
    top = runpy.run_path(str(ROOT / "celeryconfig.py"))
    packaged = runpy.run_path(str(FILE))
    assert {name: top[name] for name in NAMES} == {name: packaged[name] for name in NAMES}


def test_a_stray_celeryconfig_in_the_current_folder_changes_nothing(clean: Path) -> None:
    (clean / "celeryconfig.py").write_text("task_acks_late = False\nraise SystemExit('read')\n")
    script = "from sms_pipeline.celery import app; print(app.conf.task_acks_late)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=clean, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_bodies_are_json_and_nothing_else() -> None:
    assert app.conf.task_serializer == "json"
    assert list(app.conf.accept_content) == ["json"]


def test_only_the_broker_in_the_process_polls(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runpy.run_path(str(FILE))["broker_transport_options"]
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://host")
    with_broker = runpy.run_path(str(FILE))
    assert with_broker["broker_url"] == "amqp://host"
    assert "polling_interval" not in with_broker["broker_transport_options"]
