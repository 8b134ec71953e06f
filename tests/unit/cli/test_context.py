"""What commands work with."""

from __future__ import annotations

import sys

import pytest

from sms_pipeline.cli import context


def test_no_stdout_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not context.is_terminal()
