"""The Grafana board, Prometheus's job and the alerts speak of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.views.test_metric_families import every_metric, reading

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "observability"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
BOARD = json.loads((FOLDER / "grafana" / "board.json").read_text())
PROMETHEUS = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
VARIABLE = BOARD["templating"]["list"][0]
DATASOURCE = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text())["datasources"][0]

PROMTOOL_SECONDS = 60


def queries() -> list[str]:
    """Of the board's panels."""
    return [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


def samples() -> dict[str, set[str]]:
    """The labels of each name that a scrape has."""
    found: dict[str, set[str]] = {}
    for family in every_metric(reading()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize(
    "expression",
    [
        *queries(),
        *(alert["expr"] for alert in ALERTS),
        VARIABLE["definition"],
    ],
)
def test_every_name_and_label_exists(expression: str) -> None:
    known = samples()
    names = re.findall(r"sms_pipeline_\w+", expression)
    assert names or expression.startswith("up{")
    assert set(names) <= known.keys()
    labels = {label for name in names for label in known[name]} | {"job"}
    used = re.findall(r"(\w+)\s*(?:=~|!=|=(?!=))", expression)
    used += [
        label
        for listed in re.findall(r"(?:by|on) \(([\w, ]+)\)", expression)
        for label in listed.split(", ")
    ]
    assert set(used) <= labels


def test_the_board_shows_every_metric_that_changes() -> None:
    text = " ".join([*queries(), *(alert["expr"] for alert in ALERTS)])
    constant = {"run_info", "run_state", "run_elapsed_seconds"}
    shown = {family.name for family in every_metric(reading()) if family.name in text}
    every = {family.name for family in every_metric(reading())}
    assert every - shown == {f"sms_pipeline_{name}" for name in constant}


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_board_asks_the_datasource_that_is_provisioned() -> None:
    uids = set(re.findall(r'"type": "prometheus",\s+"uid": "(\w+)"', json.dumps(BOARD)))
    assert uids == {DATASOURCE["uid"]}
    assert DATASOURCE["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE


def test_prometheus_scrapes_where_the_metrics_are_served() -> None:
    targets = {
        job["job_name"]: target
        for job in PROMETHEUS["scrape_configs"]
        for target in job["static_configs"][0]["targets"]
    }
    port = COMPOSE["metrics"]["command"].rpartition(":")[2]
    assert targets["sms-pipeline"] == f"metrics:{port}"
    assert {target.partition(":")[0] for target in targets.values()} <= COMPOSE.keys()


def mounted(service: str) -> dict[str, str]:
    """Path in the container by file."""
    pairs = (mount.split(":")[:2] for mount in COMPOSE[service]["volumes"])
    return {file.removeprefix("./"): path for file, path in pairs}


def test_each_file_is_mounted_where_it_is_looked_for() -> None:
    prometheus, grafana = mounted("prometheus"), mounted("grafana")
    rules = Path(prometheus["observability/rules.yml"])
    assert rules.name in PROMETHEUS["rule_files"]
    assert rules.parent == Path(prometheus["observability/prometheus.yml"]).parent
    board = grafana["observability/grafana/board.json"]
    provider: dict[str, Any] = yaml.safe_load((FOLDER / "grafana/dashboards.yml").read_text())
    assert provider["providers"][0]["options"]["path"] == str(Path(board).parent)
    assert COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == board


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["annotations"].keys() == {"summary", "description"}
        assert alert["labels"]["severity"] in {"page", "warn"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=PROMTOOL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
