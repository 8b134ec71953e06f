"""Views say the same in lines and in JSON, each where it belongs."""

from __future__ import annotations

import json

import pytest

from sms_pipeline.views.display import JsonView, PlainView, SummaryJsonView, View, make_view
from sms_pipeline.views.lines import update_line
from tests.unit.views.runs import progress

DONE = progress(95)


def test_plain_view_shows_profiles_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView().show(progress())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == update_line(progress())
    assert lines[1].strip().startswith("fast: senders 0  backlog 1,000")
    assert lines[2].strip().startswith("! profile fast: 1,010 messages waiting")


def test_json_view_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonView()
    view.show(progress())
    view.note("broker away")
    view.close(DONE, "done")
    out, err = capsys.readouterr()
    assert [json.loads(line)["done"] for line in out.splitlines()] == [False, True]
    assert err == "broker away\n"


def test_summary_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    view = SummaryJsonView()
    view.show(progress())
    view.close(DONE, "done")
    out, err = capsys.readouterr()
    assert json.loads(out)["done"]
    assert update_line(progress()) in err


@pytest.mark.parametrize("view", [JsonView(), PlainView(), SummaryJsonView()])
def test_view_closes_also_before_the_first_update(view: View) -> None:
    view.close(None, "stopped")


@pytest.mark.parametrize(("as_json", "kind"), [(True, JsonView), (False, PlainView)])
def test_view_for_a_pipe(as_json: bool, kind: type) -> None:
    assert type(make_view(as_json, terminal=False)) is kind
