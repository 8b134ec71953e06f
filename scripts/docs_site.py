"""Hooks of MkDocs: the reference from the code, and pages that are not in `docs`.

On the site the project's folder and its folder `docs` are one: links are bent to that.
Only `make docs` has MkDocs, so it is imported late.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
# MkDocs loads this file by its path.
sys.path.insert(0, str(ROOT))

#: Pages beside `docs`.
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
#: Files that pages link to.
FOLDERS = ("deploy", "observability")
#: Where pages go that the navigation does not name.
_REST = "Guides"
_LINK = re.compile(r"!?\[(?P<words>[^\]]*)\]\((?P<target>[^)#\s:]+)(?:#[^)]*)?\)")


# What MkDocs calls


def on_config(config: Any) -> Any:
    """See MkDocs: name every page in the navigation, and none that is not there."""
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    config.nav = completed(config.nav, there, {*PAGES, COMMANDS})
    return config


def on_files(files: Any, config: Any) -> Any:
    """See MkDocs: add what is made, and what lies elsewhere."""
    from mkdocs.structure.files import File

    from sms_pipeline.config.schema import SCHEMA_FILE, configuration_schema

    for page in PAGES:
        files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    for path in _linked_files():
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    files.append(File.generated(config, COMMANDS, content=command_page()))
    schema = json.dumps(configuration_schema(), indent=2)
    files.append(File.generated(config, SCHEMA_FILE, content=schema))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """See MkDocs: bend the links of a page."""
    there = {file.src_uri for file in files}
    return with_links(markdown, page.file.src_uri, there, lambda goal: (ROOT / goal).exists())


# Pure


def completed(nav: list[Any], there: set[str], made: set[str]) -> list[Any]:
    """A navigation without pages that are not there, and with all that are."""
    kept = [entry for section in nav for entry in _kept(section, there | made)]
    missing = sorted(there - set(_named(kept)))
    for section in kept:
        if missing and _REST in section:
            section[_REST] += missing
    return kept


def _kept(entry: Any, there: set[str]) -> Iterator[Any]:
    if isinstance(entry, str):
        if entry in there:
            yield entry
        return
    ((title, inner),) = entry.items()
    if isinstance(inner, str):
        if inner in there:
            yield entry
        return
    yield {title: [one for part in inner for one in _kept(part, there)]}


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for inner in nav.values():
            yield from _named(inner)
    else:
        for inner in nav:
            yield from _named(inner)


def with_links(markdown: str, page: str, there: set[str], is_code: Callable[[str], bool]) -> str:
    """A page whose links lead to where things are on the site.

    Args:
        markdown: its text.
        page: where it is on the site.
        there: all that is on the site.
        is_code: whether something is in the project, and not on the site: a link to it becomes
            plain words. What is nowhere is left for MkDocs to complain about.
    """

    def bend(match: re.Match[str]) -> str:
        goal = _on_site(match["target"], page)
        if goal not in there:
            return match["words"] if is_code(goal) else match[0]
        bent = posixpath.relpath(goal, posixpath.dirname(page) or ".")
        return match[0].replace(f"({match['target']}", f"({bent}", 1)

    return _LINK.sub(bend, markdown)


def _on_site(target: str, page: str) -> str:
    """Where a link leads: `docs` and the folder above it are one."""
    goal = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    while goal.startswith(("../", "docs/")):
        goal = goal.removeprefix("../").removeprefix("docs/")
    return goal


COMMANDS = "commands.md"


def command_page() -> str:
    """Every command with its help."""
    from sms_pipeline.cli.main import SECTIONS, cli

    lines = ["# Commands", "", "What `sms-pipeline COMMAND --help` says.", ""]
    with click.Context(cli, info_name="sms-pipeline", **cli.context_settings) as parent:
        lines += ["```text", parent.get_help(), "```", ""]
        for title, commands in SECTIONS.items():
            lines += [f"## {title}", ""]
            for command in commands:
                with click.Context(command, parent, str(command.name)) as context:
                    lines += [f"### {command.name}", "", "```text", context.get_help(), "```", ""]
    return "\n".join(lines)


def _linked_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file())
