"""What is installed is all of it: the wheel holds every module, Celery's settings, the types."""

from __future__ import annotations

import re
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import yaml

from sms_pipeline import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    modules = (ROOT / "sms_pipeline").rglob("*.py")
    pages = (
        path for path in (ROOT / "sms_pipeline/views/dashboard/pages").rglob("*") if path.is_file()
    )
    expected = {str(path.relative_to(ROOT)) for path in (*modules, *pages)} | {
        "sms_pipeline/core/presets.toml",
        "sms_pipeline/py.typed",
        "sms_pipeline/views/report/templates/chart.html",
        "sms_pipeline/views/report/templates/report.html",
    }

    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert names == expected


def test_the_wheel_says_the_version_that_the_package_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())

    assert metadata["Version"] == __version__
    assert f"-{__version__}-" in wheel.name


def test_the_wheel_installs_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        entry_points = archive.read(name).decode()

    assert "sms-pipeline = sms_pipeline.cli.main:main" in entry_points


def test_the_project_says_the_version_that_the_package_says() -> None:
    assert PROJECT["version"] == __version__


def test_the_workflow_runs_what_has_to_pass() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())
    commands = [step.get("run") for step in workflow["jobs"]["all"]["steps"]]
    assert commands[-2:] == [".ci/run", None]
    assert workflow["permissions"] == {"contents": "read"}
    passing = (ROOT / ".ci/run").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make ([a-z-]+)", passing)) <= targets
    assert {"lint", "test", "wheel", "docs"} <= set(re.findall(r"make ([a-z-]+)", passing))


def test_nobody_is_told_to_install_what_is_not_published() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *(ROOT / "sms_pipeline").rglob("*.py")]
    for page in pages:
        told = re.findall(r"(?:pip|pipx|uv tool) install.*|uvx .*", page.read_text())
        assert not [
            one for one in told if re.search(r"(install|uvx) '?sms[-_]pipeline(?!-\d)", one)
        ]
