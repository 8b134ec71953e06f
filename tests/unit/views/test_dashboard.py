"""The dashboard's server: what it answers, and to whom."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest

from sms_pipeline.core.errors import ConfigError, LedgerUnavailableError
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.dashboard import access, board, doorkeeper, read_password, server
from sms_pipeline.views.dashboard.board import (
    FORGET_SECONDS,
    PAGE_RUNS,
    PERIOD_SECONDS,
    Board,
    Shared,
)
from sms_pipeline.views.dashboard.handlers import ACTIONS
from tests.unit import make
from tests.unit.views.browser import ANSWER_SECONDS, Browser

PASSWORD = "correct horse"  # noqa: S105 - made up


def control_of(ledger: Ledger, run: Run) -> Control:
    return ledger.run(run.id).control


# Figures


def test_a_run_is_shown_with_the_ledgers_own_numbers(
    browser: Browser, ledger: Ledger, run: Run
) -> None:
    # Given a run in which a batch is settled, and another is under way
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, first_index=10)])
    ledger.settle([make.settlement(run.id, 0, delivered=9, failed=1, delivery_times={40: 10})])

    shown = browser.json(f"/api/runs/{run.id}")

    assert (shown["run"], shown["total"], shown["seed"]) == (run.id, 100, str(run.seed))
    assert (shown["delivered"], shown["failed"], shown["in_flight"]) == (9, 1, 10)
    assert shown["charts"]["reach"]["series"]["reached"][-1] == 0.09
    assert shown["charts"]["delivery_times"]["series"] == {"delivery times": [1.0]}
    assert shown["shown"]["texts"]["delivered-more"] == "9.0% of 100"
    assert [profile["name"] for profile in shown["profiles"]] == ["fast", "slow"]
    assert not shown["done"]


def finish(ledger: Ledger, *checks: str) -> Run:
    """A run of ten messages, of which one failed."""
    thresholds = [{"check": check} for check in checks]
    run = ledger.start_run(make.simulation(num_messages=10, thresholds=thresholds), seed=1)
    ledger.record_batches(run.id, [make.row(run.id)])
    one = {"failed": 1, "failed_indexes": [3]}
    ledger.settle([make.settlement(run.id, delivered=9, delivery_times={80: 10}, **one)])
    return run


def test_the_verdict_is_on_the_page_and_in_the_list(browser: Browser, ledger: Ledger) -> None:
    good, bad = finish(ledger), finish(ledger, "failed < 5%", "delivered > 5")
    going = ledger.start_run(make.simulation(), seed=1, embedded=True)

    for run, verdict, tone in (
        (good, "Proven · 1 not reached", "good"),
        (bad, "Proven · 1 of 2 thresholds passed · 1 not reached", "bad"),
    ):
        shown = browser.json(f"/api/runs/{run.id}")
        listed = next(one for one in browser.json("/api/runs")["runs"] if one["run"] == run.id)
        for one in (shown, listed):
            assert (one["state"], one["verdict"], one["tone"]) == ("done", verdict, tone)
    (first, *_) = browser.json("/api/runs")["runs"]
    assert (first["run"], first["state"]) == (going.id, "interrupted")
    assert first["cure"] == f"interrupted: go on with sms-pipeline resume {going.id}"
    assert first["verdict"] == "Not finished · 1,000 open · 0 not reached"


def test_the_list_names_the_worker_that_a_stalled_run_waits_for(
    ledger: Ledger, noon: ManualClock
) -> None:
    run = ledger.start_run(make.simulation(), seed=1)
    ledger.record_batches(run.id, [make.row(run.id, profile="slow")])
    noon.advance(7_200)
    board = Board(ledger, noon)
    (listed,) = asyncio.run(board.runs())["runs"]
    board.close()
    assert (listed["state"], listed["cure"]) == (
        "stalled",
        "stalled: start a worker: celery -A sms_pipeline worker --profile slow",
    )


def test_only_the_first_page_of_the_list_is_audited(browser: Browser, ledger: Ledger) -> None:
    runs = [finish(ledger) for _ in range(PAGE_RUNS + 1)]
    latest = browser.json("/api/runs")["runs"]
    assert {one["verdict"] for one in latest} == {"Proven · 1 not reached"}
    (oldest,) = browser.json(f"/api/runs?before={runs[1].id}")["runs"]
    assert (oldest["verdict"], oldest["tone"]) == ("Not audited · 1 not reached", "open")


@pytest.mark.parametrize(
    ("kind", "start"), [("html", "<!doctype html>"), ("json", "{"), ("csv", "second,")]
)
def test_the_report_can_be_downloaded(
    browser: Browser, ledger: Ledger, kind: str, start: str
) -> None:
    run = finish(ledger)
    response = browser.ask(f"/api/runs/{run.id}/report.{kind}")
    assert response.code == HTTPStatus.OK
    assert response.body.decode().startswith(start)
    assert kind in response.headers["Content-Type"]
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="run-{run.id}.{kind}"'
    )
    assert (
        f'href="/api/runs/{run.id}/report.{kind}"' in browser.ask(f"/runs/{run.id}").body.decode()
    )


def test_there_is_no_report_of_an_unknown_run_or_in_another_format(
    browser: Browser, run: Run
) -> None:
    assert browser.ask("/api/runs/99/report.html").code == HTTPStatus.NOT_FOUND
    assert browser.ask(f"/api/runs/{run.id}/report.pdf").code == HTTPStatus.NOT_FOUND


def test_an_unknown_run_is_not_found(browser: Browser, run: Run) -> None:
    response = browser.ask(f"/api/runs/{run.id + 1}")
    assert response.code == HTTPStatus.NOT_FOUND
    assert f"no run {run.id + 1}" in json.loads(response.body)["error"]


def test_there_is_no_page_of_an_unknown_run(browser: Browser, run: Run) -> None:
    response = browser.ask(f"/runs/{run.id + 1}")
    assert response.code == HTTPStatus.NOT_FOUND
    assert f"There is no run {run.id + 1}." in response.body.decode()
    assert browser.ask(f"/runs/{run.id}").code == HTTPStatus.OK


def test_a_page_waits_for_a_ledger_that_is_away(
    browser: Browser, ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LedgerUnavailableError("the ledger can't be reached")

    monkeypatch.setattr(ledger, "run", away)
    assert browser.ask(f"/runs/{run.id}").code == HTTPStatus.OK


def test_people_are_told_of_a_page_that_is_not_there_in_a_page(browser: Browser) -> None:
    response = browser.ask("/nowhere", Accept="text/html,*/*")
    assert response.code == HTTPStatus.NOT_FOUND
    assert "There is no such page." in response.body.decode()
    assert browser.ask("/nowhere").body == b"404 Not Found\n"


def test_a_page_of_the_list_is_read_once(
    ledger: Ledger, noon: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [ledger.start_run(make.simulation(num_messages=20), seed=1) for _ in range(PAGE_RUNS)]
    read: list[object] = []
    page = ledger.page
    monkeypatch.setattr(ledger, "page", lambda *given: read.append(given) or page(*given))
    board = Board(ledger, noon)
    listed = asyncio.run(board.runs())
    board.close()
    assert len(read) == 1
    assert [one["run"] for one in listed["runs"]] == [run.id for run in reversed(runs)]
    assert listed["older"] is None


def test_runs_come_in_pages_newest_first(browser: Browser, ledger: Ledger) -> None:
    runs = [ledger.start_run(make.simulation(num_messages=20), seed=1) for _ in range(50)]
    ledger.record_batches(runs[-1].id, [make.row(runs[-1].id, 0)])
    ledger.settle([make.settlement(runs[-1].id, 0)])

    seen: list[int] = []
    page = browser.json("/api/runs")
    assert page["runs"][0]["delivered"] == 10
    assert page["runs"][1]["delivered"] == 0
    while True:
        assert len(page["runs"]) <= PAGE_RUNS
        seen += [one["run"] for one in page["runs"]]
        if page["older"] is None:
            break
        page = browser.json(f"/api/runs?before={page['older']}")
    assert seen == [run.id for run in reversed(runs)]


@pytest.mark.parametrize("before", ["x", "-1", "1'", "9" * 20, "9" * 5_000, "%D9%A3"])
def test_a_page_is_named_by_a_number(browser: Browser, before: str) -> None:
    assert browser.ask(f"/api/runs?before={before}").code == HTTPStatus.BAD_REQUEST


def test_a_ledger_that_is_away_is_said_and_comes_back(
    browser: Browser, ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PERIOD_SECONDS", 0.0)
    monkeypatch.setattr(board, "IDLE_SHARE", 0)

    def away(*_: object) -> None:
        raise LedgerUnavailableError("the ledger can't be reached: gone fishing")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "snapshot", away)
        response = browser.ask(f"/api/runs/{run.id}")
        assert response.code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "gone fishing" in json.loads(response.body)["error"]
    assert browser.json(f"/api/runs/{run.id}")["total"] == 100


def test_all_who_look_share_one_reading() -> None:
    # Given a reading that takes until it is let go
    readings: list[int] = []
    let_go = threading.Event()

    def read() -> int:
        readings.append(1)
        assert let_go.wait(ANSWER_SECONDS)
        return len(readings)

    async def look() -> list[int]:
        shared = Shared(read, pool)
        asked = [asyncio.ensure_future(shared.get()) for _ in range(20)]
        await asyncio.sleep(0)
        asked[0].cancel()
        let_go.set()
        got = await asyncio.gather(*asked[1:])
        fresh = await shared.get()
        shared.expire()
        return [*got, fresh, await shared.get()]

    # When twenty ask at once, and one goes away, then it is made once, and again once it is old
    with ThreadPoolExecutor() as pool:
        assert asyncio.run(look()) == [1] * 20 + [2]


def test_a_reading_is_good_until_it_is_old() -> None:
    clock = ManualClock()
    readings = iter(range(9))

    async def look() -> list[int]:
        shared = Shared(lambda: next(readings), pool, clock)
        got = []
        for seconds in (0, PERIOD_SECONDS / 2, PERIOD_SECONDS, 0):
            clock.advance(seconds)
            got.append(await shared.get())
        return got

    with ThreadPoolExecutor() as pool:
        assert asyncio.run(look()) == [0, 0, 1, 1]


def test_a_run_that_nobody_asks_for_is_forgotten(
    ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    looked_up: list[float] = []
    monkeypatch.setattr(ledger, "run", lambda _: looked_up.append(clock.monotonic()) or run)

    async def look() -> None:
        for seconds in (0, FORGET_SECONDS - 1, FORGET_SECONDS):
            clock.advance(seconds)
            await board.run(run.id)

    board = Board(ledger, clock)
    asyncio.run(look())
    board.close()
    assert looked_up == [0, 2 * FORGET_SECONDS - 1]


# Steering


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_button_does_what_the_command_does_and_is_seen_at_once(
    browser: Browser, ledger: Ledger, run: Run, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PERIOD_SECONDS", 3_600.0)
    ledger.control(run.id, Control.PAUSED if action == "continue" else Control.RUNNING)
    browser.json(f"/api/runs/{run.id}")

    response = browser.ask(
        f"/api/runs/{run.id}/{action}", "POST", X_Xsrftoken=browser.token(), Origin=origin(browser)
    )

    assert response.code == HTTPStatus.OK
    assert control_of(ledger, run) is ACTIONS[action]
    assert f"Run {run.id}" in json.loads(response.body)["said"]
    # Cancelling settles what was never published, as the command does.
    shown = browser.json(f"/api/runs/{run.id}")
    assert shown["control"] == ACTIONS[action]
    assert shown["cancelled"] == (100 if action == "cancel" else 0)


def test_what_can_not_be_steered_is_said(browser: Browser, ledger: Ledger, run: Run) -> None:
    ledger.control(run.id, Control.CANCELLED)
    response = browser.ask(f"/api/runs/{run.id}/pause", "POST", X_Xsrftoken=browser.token())
    assert response.code == HTTPStatus.CONFLICT
    assert "final" in json.loads(response.body)["error"]


def origin(browser: Browser) -> str:
    return f"http://{browser.host}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_a_foreign_page_is_refused_even_with_the_token(
    browser: Browser, ledger: Ledger, run: Run, headers: dict[str, str]
) -> None:
    token = browser.token()
    response = browser.ask(f"/api/runs/{run.id}/pause", "POST", X_Xsrftoken=token, **headers)
    assert response.code == HTTPStatus.FORBIDDEN
    assert control_of(ledger, run) is Control.RUNNING


@pytest.mark.parametrize("token", [None, "2|00000000|00|1", "wrong"])
def test_a_missing_or_wrong_token_is_refused(
    browser: Browser, ledger: Ledger, run: Run, token: str | None
) -> None:
    browser.token()
    headers = {"X_Xsrftoken": token} if token else {}
    response = browser.ask(f"/api/runs/{run.id}/cancel", "POST", **headers)
    assert response.code == HTTPStatus.FORBIDDEN
    assert control_of(ledger, run) is Control.RUNNING


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_link_can_not_steer(browser: Browser, ledger: Ledger, run: Run, action: str) -> None:
    token = browser.token()
    path = f"/api/runs/{run.id}/{action}?_xsrf={token}"
    assert browser.ask(path, X_Xsrftoken=token).code == HTTPStatus.METHOD_NOT_ALLOWED
    assert control_of(ledger, run) is Control.RUNNING


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_read_only_refuses_and_shows_no_buttons(
    serve: Callable[..., Browser], ledger: Ledger, run: Run, action: str
) -> None:
    browser = serve(read_only=True)
    response = browser.ask(f"/api/runs/{run.id}/{action}", "POST", X_Xsrftoken=browser.token())
    assert response.code == HTTPStatus.FORBIDDEN
    assert "read-only" in json.loads(response.body)["error"]
    assert control_of(ledger, run) is Control.RUNNING
    assert f'id="{action}"' not in browser.ask(f"/runs/{run.id}").body.decode()
    assert f'id="{action}"' in serve().ask(f"/runs/{run.id}").body.decode()


# The door

PATHS = [
    "/",
    "/runs/1",
    "/login",
    "/api/runs",
    "/api/runs/1",
    "/api/runs/1/report.html",
    "/metrics",
    "/healthz",
    "/nowhere",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"])
def test_a_foreign_name_is_refused(browser: Browser, run: Run, path: str, host: str) -> None:
    response = browser.ask(path, Host=host)
    assert response.code == HTTPStatus.MISDIRECTED_REQUEST
    assert str(run.total) not in response.body.decode()


def test_a_name_can_be_allowed(serve: Callable[..., Browser]) -> None:
    browser = serve(names=frozenset({"Board.example"}))
    assert browser.ask("/", Host="board.example:80").code == HTTPStatus.OK
    assert browser.ask("/", Host="localhost:1").code == HTTPStatus.OK
    assert browser.ask("/", Host="[::1]:8080").code == HTTPStatus.OK
    assert browser.ask("/", Host="[").code == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    "path", ["/api/runs", "/api/runs/1", "/api/runs/1/report.json", "/metrics"]
)
def test_figures_need_the_password(serve: Callable[..., Browser], run: Run, path: str) -> None:
    assert serve(password=PASSWORD).ask(path).code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("path", "login"),
    [
        ("/", "/login"),
        ("/runs/1", "/login?next=%2Fruns%2F1"),
        ("/?before=7", "/login?next=%2F%3Fbefore%3D7"),
        # Whether there is such a run is not for strangers.
        ("/runs/99", "/login?next=%2Fruns%2F99"),
    ],
)
def test_pages_lead_to_the_login(
    serve: Callable[..., Browser], run: Run, path: str, login: str
) -> None:
    response = serve(password=PASSWORD).ask(path)
    assert (response.code, response.headers["Location"]) == (HTTPStatus.FOUND, login)


def test_the_login_leads_to_the_page_that_was_asked_for(serve: Callable[..., Browser]) -> None:
    browser = serve(password=PASSWORD)
    form = browser.ask("/login?next=%2Fruns%2F1").body.decode()
    assert '<input type="hidden" name="next" value="/runs/1">' in form
    body = f"password=correct+horse&next=%2Fruns%2F1&_xsrf={browser.token('/login')}"
    response = browser.ask("/login", "POST", body)
    assert (response.code, response.headers["Location"]) == (HTTPStatus.FOUND, "/runs/1")


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "runs/1",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=y",
        "/ünicode",
    ],
)
def test_the_login_never_leads_elsewhere(wanted: str) -> None:
    assert access.path_here(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/", "/runs/1", "/?before=20", "/compare?first=1&second=2"])
def test_the_login_leads_to_any_page_here(wanted: str) -> None:
    assert access.path_here(wanted) == wanted


def test_steering_needs_the_password(
    serve: Callable[..., Browser], ledger: Ledger, run: Run
) -> None:
    browser = serve(password=PASSWORD)
    token = browser.token("/login")
    response = browser.ask(f"/api/runs/{run.id}/cancel", "POST", X_Xsrftoken=token)
    assert response.code == HTTPStatus.UNAUTHORIZED
    assert control_of(ledger, run) is Control.RUNNING


@pytest.mark.parametrize("wrong", ["", "correct", PASSWORD + "x", "CORRECT HORSE"])
def test_a_wrong_password_is_refused_and_never_logged(
    serve: Callable[..., Browser],
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(doorkeeper, "WRONG_PASSWORD_SECONDS", 0.0)
    caplog.set_level("DEBUG")
    browser = serve(password=PASSWORD)
    response = browser.log_in(wrong)
    assert response.code == HTTPStatus.FORBIDDEN
    assert browser.ask("/api/runs").code == HTTPStatus.UNAUTHORIZED
    assert not wrong or wrong not in caplog.text
    assert PASSWORD not in caplog.text


def test_the_password_opens_a_session_until_it_is_closed(serve: Callable[..., Browser]) -> None:
    browser = serve(password=PASSWORD)
    response = browser.log_in("correct+horse")
    assert (response.code, response.headers["Location"]) == (HTTPStatus.FOUND, "/")
    cookie = next(c for c in response.headers.get_list("Set-Cookie") if "sms_dashboard" in c)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert browser.ask("/api/runs").code == HTTPStatus.OK

    browser.ask("/logout", "POST", f"_xsrf={browser.token()}")
    assert browser.ask("/api/runs").code == HTTPStatus.UNAUTHORIZED


def test_a_session_that_is_closed_lets_nobody_in(serve: Callable[..., Browser]) -> None:
    desk = serve(password=PASSWORD)
    desk.log_in("correct+horse")
    stolen = desk.cookies["sms_dashboard"]

    desk.ask("/logout", "POST", f"_xsrf={desk.token()}")
    desk.cookies["sms_dashboard"] = stolen

    assert desk.ask("/api/runs").code == HTTPStatus.UNAUTHORIZED


def test_a_login_sent_by_another_page_is_refused(serve: Callable[..., Browser]) -> None:
    browser = serve(password=PASSWORD)
    body = f"password=correct+horse&_xsrf={browser.token('/login')}"
    response = browser.ask("/login", "POST", body, Origin="http://evil.example")
    assert response.code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (f"prometheus:{PASSWORD}", HTTPStatus.OK),
        ("prometheus:wrong", HTTPStatus.UNAUTHORIZED),
        ("nonsense", HTTPStatus.UNAUTHORIZED),
    ],
)
def test_a_scraper_brings_the_password_along(
    serve: Callable[..., Browser],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    credentials: str,
    status: HTTPStatus,
) -> None:
    monkeypatch.setattr(doorkeeper, "WRONG_PASSWORD_SECONDS", 0.0)
    header = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    response = serve(password=PASSWORD).ask("/metrics", Authorization=header)
    assert response.code == status
    assert (b"sms_pipeline_" in response.body) == (status is HTTPStatus.OK)


def test_credentials_that_are_no_text_are_refused(serve: Callable[..., Browser], run: Run) -> None:
    answer = serve(password=PASSWORD).ask("/metrics", Authorization="Basic \xff")
    assert answer.code == HTTPStatus.UNAUTHORIZED


def test_health_can_be_asked_for_without_its_body(browser: Browser, run: Run) -> None:
    answer = browser.ask("/healthz", "HEAD")
    assert (answer.code, answer.body) == (HTTPStatus.OK, b"")


def test_health_is_open_and_tells_strangers_nothing_more(
    serve: Callable[..., Browser], run: Run
) -> None:
    stranger = serve(password=PASSWORD).ask("/healthz")
    assert (stranger.code, stranger.body) == (HTTPStatus.OK, b"ok\n")
    assert b"run 1" in serve().ask("/healthz").body


@pytest.mark.parametrize("path", ["/", "/login", "/runs/1", "/api/runs", "/static/page.js"])
def test_no_answer_can_be_framed_or_pull_in_what_is_elsewhere(browser: Browser, path: str) -> None:
    response = browser.ask(path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_pages_name_no_other_host() -> None:
    for file in Path(server.PAGES).rglob("*.*"):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.", text), file


def test_the_charts_library_is_served_from_here(browser: Browser) -> None:
    response = browser.ask("/plotly/plotly.min.js?v=1")
    assert response.code == HTTPStatus.OK
    assert b"plotly.js v" in response.body[:200]
    assert browser.ask("/plotly/datasets/tips.csv.gz").code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    "path", ["/%00", "/static/%00", "/static/page.js%00", "/runs/%00", "/api/%00"]
)
def test_a_path_that_can_not_be_is_not_found(browser: Browser, path: str) -> None:
    assert browser.ask(path).code == HTTPStatus.NOT_FOUND


# Options


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_password(host: str) -> None:
    access.require_password(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "board.example"])  # noqa: S104
@pytest.mark.parametrize("password", [None, ""])
def test_every_other_address_needs_one(host: str, password: str | None) -> None:
    with pytest.raises(ConfigError, match="SMS_DASHBOARD_PASSWORD"):
        access.require_password(host, password)
    access.require_password(host, PASSWORD)


def test_a_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nnot this\n")
    assert read_password(file) == PASSWORD
    assert read_password(None) is None
    file.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        read_password(file)
    with pytest.raises(ConfigError, match="can't be read"):
        read_password(tmp_path / "none")
