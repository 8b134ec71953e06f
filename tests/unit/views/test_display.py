"""Views say the same in lines and in JSON, each where it belongs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sms_pipeline.core.progress import Progress
from sms_pipeline.views.display import JsonView, PlainView, SummaryJsonView, View, make_view
from sms_pipeline.views.lines import LINE_WIDTH, update_line
from tests.unit.views.runs import progress

DONE = progress(95)


def test_plain_view_shows_profiles_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView().show(progress())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == update_line(progress())
    assert lines[1].strip().startswith("fast: senders 0  backlog 1,000")
    assert lines[2].strip().startswith("! profile fast: 1,055 messages waiting")


def shown(view: View, *readings: Progress, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the last of these updates."""
    for reading in readings:
        capsys.readouterr()
        view.show(reading)
    return capsys.readouterr().out.splitlines()


def test_an_update_is_one_line_while_nothing_else_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = shown(PlainView(), progress(40), progress(50), capsys=capsys)
    assert line == update_line(progress(50))


def test_a_profile_is_told_when_its_senders_change(capsys: pytest.CaptureFixture[str]) -> None:
    before = progress(40)
    (fast,) = before.profiles
    joined = replace(before, profiles=(replace(fast, senders=20),))
    _, profile, *_ = shown(PlainView(), before, joined, capsys=capsys)
    assert profile.strip().startswith("fast: senders 20")


def test_a_warning_that_came_back_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = replace(progress(40), warnings=())
    assert len(shown(PlainView(), progress(40), quiet, progress(41), capsys=capsys)) == 2


def test_verbose_tells_everything_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(PlainView(verbose=True), progress(40), progress(50), capsys=capsys)
    text = "\n".join(lines)
    for part in ("transit ", "p95 ", "fast: senders ", "efficiency ", "! profile fast"):
        assert part in text
    assert max(map(len, lines)) <= LINE_WIDTH


def test_no_line_of_the_end_is_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView().close(DONE, "done")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= LINE_WIDTH


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
