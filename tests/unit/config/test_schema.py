"""The JSON schema has the keys of the code, and says yes and no where the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from sms_pipeline.config.files import read_simulation
from sms_pipeline.config.problems import fields_of
from sms_pipeline.config.schema import configuration_schema
from sms_pipeline.config.starter import starter_text
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.simulation import Simulation

ROOT = Path(__file__).parents[3]
SCHEMA = configuration_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def models(annotation: Any) -> set[type[BaseModel]]:
    """The models inside a type, however deep."""
    found: set[type[BaseModel]] = set()
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        found.add(annotation)
        for field in annotation.model_fields.values():
            found |= models(field.annotation)
    for part in getattr(annotation, "__args__", ()):
        found |= models(part)
    return found


def examples() -> list[tuple[str, Any]]:
    """Every configuration in the documentation."""
    found = []
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)):
            content = yaml.safe_load(block)
            if isinstance(content, dict) and content.keys() <= Simulation.model_fields.keys():
                found.append((f"{page.name}-{number}", content))
    return found


EXAMPLES = examples()


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_its_keys_are_those_of_the_code() -> None:
    assert set(SCHEMA["properties"]) == set(Simulation.model_fields)
    inner = {model.__name__: model for model in models(Simulation) if model is not Simulation}
    assert set(SCHEMA["$defs"]) >= set(inner)
    for name, model in inner.items():
        assert set(SCHEMA["$defs"][name]["properties"]) == set(fields_of(model)), name


def test_every_key_is_explained() -> None:
    unexplained = {
        name
        for definition in (SCHEMA, *SCHEMA["$defs"].values())
        for name, described in definition.get("properties", {}).items()
        if not described.get("description")
    }
    assert unexplained <= {"name"}


def test_the_documentation_has_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("content", [one[1] for one in EXAMPLES], ids=[one[0] for one in EXAMPLES])
def test_examples_of_the_documentation_are_valid(content: dict[str, Any]) -> None:
    VALIDATOR.validate(content)
    assert read_simulation(yaml.safe_dump(content), "example")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"batch_size": "auto"},
        {"batch_size": 20_000},
        {"senders": [{"times": [1, 2], "failure_rate": 0}]},
        {"thresholds": ["lost == 0", {"check": "lost == 0", "abort": True}]},
        {"retry": {"max_attempts": None}},
        {"messages_from": "seed"},
        {"num_messges": 5},
        {"num_messages": 0},
        {"num_messages": "5"},
        {"batch_size": 20_001},
        {"batch_size": "big"},
        {"senders": [{"failure_rate": 0}]},
        {"senders": [{"mean_time": 1}]},
        {"senders": [{"mean_time": 1, "failure_rate": 1.5}]},
        {"senders": [{"mean_time": 1, "failure_rate": 0, "speed": 1}]},
        {"senders": 5},
        {"thresholds": [5]},
        {"retry": {"backoff": -1}},
        {"routing": "best"},
        {"messages_from": "caller"},
        {"senders": [{"mean_time": 1, "failure_rate": 0, "preset": "us-toll-free"}]},
        {"senders": [{"mean_time": 1, "failure_rate": 0, "preset": "us"}]},
        {"events": [{"at": 1, "for": 5, "outage": True}]},
        {"events": [{"at": 1, "seconds": 5, "outage": True}]},
    ],
    ids=str,
)
def test_it_takes_what_the_code_takes(content: dict[str, Any]) -> None:
    try:
        read_simulation(yaml.safe_dump(content), "x")
        right = True
    except ConfigError:
        right = False
    assert VALIDATOR.is_valid(content) == right


# The configuration to begin with


def test_the_first_configuration_is_the_defaults_and_names_its_schema() -> None:
    text = starter_text("alert.yml")
    assert read_simulation(text, "alert.yml") == Simulation()
    assert text.startswith("# yaml-language-server: $schema=./sms-pipeline.schema.json\n")
    VALIDATOR.validate(yaml.safe_load(text))


def test_the_first_configuration_has_every_key_once() -> None:
    text = starter_text("alert.yml")
    for key in Simulation.model_fields.keys() - {"messages_from"}:
        assert len(re.findall(rf"^#?{key}:", text, re.M)) == 1, key


def commented_keys() -> list[str]:
    found = re.findall(r"^ *#(\w+):", starter_text("alert.yml"), re.M)
    assert len(found) > 10
    return found


@pytest.mark.parametrize("key", commented_keys())
def test_each_key_that_is_a_comment_can_be_used_by_removing_the_sign(key: str) -> None:
    before = starter_text("alert.yml")
    # A mapping: with its lines.
    text = re.sub(rf"^( *)#({key}:.*\n(?:#  .*\n)*)", _uncommented, before, count=1, flags=re.M)
    assert yaml.safe_load(text) != yaml.safe_load(before)
    assert read_simulation(text, "alert.yml")
    VALIDATOR.validate(yaml.safe_load(text))


def _uncommented(found: re.Match[str]) -> str:
    return found[1] + found[2].replace("\n#", "\n")
