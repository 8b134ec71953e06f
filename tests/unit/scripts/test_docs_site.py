"""The site of the documentation: its navigation, its links, and what is made from code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from scripts.docs_site import COMMANDS, PAGES, command_page, completed, with_links
from sms_pipeline.cli.main import cli

ROOT = Path(__file__).parents[3]
SITE = {"README.md", "hosts.md", "benchmarks/README.md", "deploy/workers.yml", "images/a.png"}


def bent(text: str, page: str) -> str:
    return with_links(text, page, SITE, lambda goal: goal == "sms_pipeline/code.py")


def test_links_lead_to_where_things_are_on_the_site() -> None:
    assert bent("[a](docs/hosts.md#b)", "README.md") == "[a](hosts.md#b)"
    assert bent("![a](docs/images/a.png)", "README.md") == "![a](images/a.png)"
    assert bent("[a](../deploy/workers.yml)", "hosts.md") == "[a](deploy/workers.yml)"
    assert bent("[a](../docs/hosts.md)", "benchmarks/README.md") == "[a](../hosts.md)"


def test_links_to_code_become_words_and_broken_ones_stay_for_mkdocs() -> None:
    assert bent("see [it](../sms_pipeline/code.py)", "hosts.md") == "see it"
    assert bent("see [it](nowhere.md)", "hosts.md") == "see [it](nowhere.md)"
    assert bent("[a](https://example.org/x)", "hosts.md") == "[a](https://example.org/x)"


def test_the_navigation_has_every_page_and_none_that_is_not_there() -> None:
    nav = [{"Overview": "README.md"}, {"Guides": ["old.md", "soon.md"]}]
    assert completed(nav, {"old.md", "new.md"}, {"README.md"}) == [
        {"Overview": "README.md"},
        {"Guides": ["old.md", "new.md"]},
    ]


def test_every_page_has_a_place_of_its_own() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"[\w/]+\.md", text[text.index("\nnav:") :]))
    there = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert there <= named
    assert named <= there | {*PAGES, COMMANDS, "carriers.md", "recipients.md"}
    assert yaml.safe_load(text)["strict"] is True


def test_the_reference_has_the_help_of_every_command() -> None:
    page = command_page()
    assert page.count("  -h, --help ") == 1 + len(cli.commands)
    for name in cli.commands:
        assert f"### {name}\n\n```text\nUsage: sms-pipeline {name} " in page
