"""What commands work with."""

from __future__ import annotations

import sys

import pytest

from sms_pipeline.cli import context
from sms_pipeline.core.errors import EXIT_USAGE
from tests.unit.cli.commands import invoke


def test_no_stdout_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not context.is_terminal()


@pytest.mark.parametrize("command", ["run", "forecast", "plan --within 10m", "measure"])
def test_one_configuration_is_named_once(command: str) -> None:
    result = invoke(*command.split(), "one.yml", "--config", "two.yml")
    assert result.exit_code == EXIT_USAGE
    assert "name one configuration: CONFIG or --config, not both" in result.stderr
