"""What the documentation says is what the code does."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric
from pydantic import BaseModel

from sms_pipeline import send_sms
from sms_pipeline.config.settings import DEFAULT_DATABASE_URL, ENVIRONMENT, Settings
from sms_pipeline.core.events import Event
from sms_pipeline.core.failover import Failover
from sms_pipeline.core.presets import LIMITS, presets
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.recipients import Recipients
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation, Threshold
from sms_pipeline.testing import eager_run
from tests.unit.test_rooms import MAY_IMPORT
from tests.unit.views.test_metric_families import every_metric, reading

ROOT = Path(__file__).parents[2]
CARRIERS = (ROOT / "docs" / "carriers.md").read_text()
PAGE = (ROOT / "docs" / "configuration.md").read_text()
#: Defaults that the page describes in words.
IN_WORDS = {"senders", "retry", "failover", "name"}
#: In the drawing of the rooms, words begin here.
DRAWING_WIDTH = 36
#: Settings, not a room.
UNDRAWN = {"celeryconfig"}


def rows_of(model: str) -> dict[str, tuple[str, str]]:
    table = re.search(rf"<!-- table: {model} -->\n(.*?)<!-- end -->", PAGE, re.S)
    assert table, f"no table of {model}"
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table[1].splitlines()[2:]]
    return {key.strip("`"): (default.strip("`"), meaning) for key, default, meaning in cells}


MODELS = [Simulation, SenderProfile, RetryPolicy, Failover, Threshold, Event, Recipients]


@pytest.mark.parametrize("model", MODELS)
def test_the_table_has_each_key_with_its_default_and_meaning(model: type[BaseModel]) -> None:
    rows = rows_of(model.__name__)
    assert list(rows) == sorted(rows, key=list(rows).index)
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    assert set(rows) == set(fields)
    for name, field in fields.items():
        default, meaning = rows[name]
        if name != "name":
            assert meaning == field.description, name
        if name in IN_WORDS:
            continue
        shown = "required" if field.is_required() else json.dumps(field.default).strip('"')
        assert default == shown, name


def test_the_page_on_carriers_has_every_preset_with_its_source() -> None:
    table = re.search(r"<!-- table: presets -->\n(.*?)<!-- end -->", CARRIERS, re.S)
    assert table
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[1].splitlines()[2:]]
    assert len(found) == len(presets())
    for name, what, rate, validity, cap, source in found:
        preset = presets()[name.strip("`")]
        assert what == preset["what"]
        assert [_number(rate), _number(validity), _number(cap)] == [preset.get(x) for x in LIMITS]
        assert preset["source"] in source
        assert str(preset["read"]) in source


def _number(cell: str) -> float | None:
    return float(cell.replace(",", "")) if cell else None


def test_the_example_on_carriers_is_a_configuration() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", CARRIERS, re.S)
    simulation = Simulation.model_validate(yaml.safe_load(example))
    assert len(simulation.events) == 3
    assert simulation.profile("shortcode").parts_per_second == 50
    assert simulation.profile("hotline").parts_per_second == 3


def test_the_page_names_every_variable_and_its_default() -> None:
    for name in ENVIRONMENT:
        assert f"`{name}`" in PAGE
    assert f"`{DEFAULT_DATABASE_URL}`" in PAGE
    assert f"`{Settings().queue_type}`" in PAGE
    assert f"`{Settings().log_level}`" in PAGE


def test_every_module_is_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "sms_pipeline"
    files = (path for path in package.rglob("*.py") if path.name != "__init__.py")
    modules = {str(path.relative_to(package)) for path in files}
    assert {name for name in modules if f"`{name}`" not in page} == set()


def test_the_architecture_has_a_module_in_one_row_only() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    cells = re.findall(r"^\| (`[^|]+)\|", page, re.M)
    named = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(named) == sorted(set(named))


def test_the_drawing_of_the_rooms_has_each_above_those_that_it_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawing = re.search(r"```text\n(.*?)```", page, re.S)
    assert drawing
    lines = [line[:DRAWING_WIDTH] for line in drawing[1].splitlines()]
    names = [(name, row) for row, line in enumerate(lines) for name in re.findall(r"\w+", line)]
    row_of = dict(names)
    assert len(row_of) == len(names)
    assert set(row_of) == set(MAY_IMPORT) - UNDRAWN
    for room in row_of:
        above = {other for other in MAY_IMPORT[room] - UNDRAWN if row_of[other] <= row_of[room]}
        assert above == set(), room


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"]


@pytest.mark.parametrize("page", [*PAGES, *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_glossary_is_in_alphabetical_order_and_has_each_word_once() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text()
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", page, re.M)
    assert words == sorted(set(words))


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.stem)
def test_what_examples_import_is_there(page: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        imports = [node for node in ast.parse(example).body if isinstance(node, ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), page.name, "exec"), {})  # noqa: S102


@pytest.mark.parametrize("number", [0, 1], ids=["fakes", "eager"])
def test_the_examples_of_tests_pass(number: int) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.S)[number]
    names: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), names)  # noqa: S102
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    test()


def test_the_page_on_metrics_lists_each_with_its_type_labels_and_meaning() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    table = re.search(r"<!-- table: metrics -->\n(.*?)<!-- end -->", page, re.S)
    assert table
    assert table[1].splitlines()[2:] == [_metric_row(family) for family in every_metric(reading())]


def _metric_row(family: Metric) -> str:
    name = family.name + ("_total" if family.type == "counter" else "")
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
    shown = ", ".join(f"`{label}`" for label in labels if label != "le")
    return f"| `{name}` | {family.type} | {shown} | {family.documentation} |"


def test_each_message_that_has_a_cure_is_said_somewhere() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(messages) > 25
    sources = "".join(path.read_text() for path in (ROOT / "sms_pipeline").rglob("*.py"))
    # As Python joins the parts of a text.
    said = re.sub(r'["\s]*\n\s*f?"', "", sources)
    assert [message for message in messages if message not in said] == []


def test_the_audit_in_the_readme_has_the_lines_of_an_audit() -> None:
    page = (ROOT / "README.md").read_text()
    sample = re.search(r"sms-pipeline audit\n(.*?)```", page, re.S)
    assert sample
    with eager_run(Simulation(num_messages=1)) as rehearsal:
        (batch,) = rehearsal.batches()
        send_sms.delay(batch.to_wire())
        lines = rehearsal.audit().lines()
    assert [_words(line) for line in sample[1].splitlines()] == [_words(line) for line in lines]


def _words(line: str) -> str:
    """Its label or its first word: what does not differ from run to run."""
    return re.split(r"\W", line.strip())[0]
