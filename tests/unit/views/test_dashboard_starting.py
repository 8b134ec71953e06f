"""Runs that are started from the page: what is checked, forecast, refused and said."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest

from sms_pipeline.cli import context
from sms_pipeline.cli.options import SimulationOptions
from sms_pipeline.config.files import read_simulation
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import ConfigError, PipelineError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Run, WorkerRow
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.outlook import look_ahead
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.configuration import configuration_yaml
from sms_pipeline.views.dashboard import beside, drafts, launches
from sms_pipeline.views.dashboard.beside import Beside, NoAnswerError, TooMuchError
from sms_pipeline.views.dashboard.launches import Launches
from sms_pipeline.views.dashboard.starter import Starter
from sms_pipeline.views.outlook import outlook_lines
from tests.unit import make
from tests.unit.producer import people
from tests.unit.views.browser import Browser

PASSWORD = "correct horse"  # noqa: S105 - made up
POSTS = ["/api/check", "/api/forecast", "/api/start", "/api/runs/1/again"]
#: Nothing is given on the command line.
NO_OPTIONS = cast(
    SimulationOptions, {**dict.fromkeys(SimulationOptions.__annotations__), "tags": ()}
)
SMALL = "num_messages: 30\nsenders: [{name: fast, mean_time: 0, failure_rate: 0}]\n"


class Asked:
    """Answers in this process."""

    async def ask(self, question: str, **values: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(drafts, question)(**values)
        return answer


class Remembered:
    """Starts nothing, and remembers what it was asked to start, and to wait for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.expected: list[Simulation] = []
        self.failed: dict[int, str] = {}
        self.online: list[WorkerRow] = []

    async def start(self, text: str, simulation: Simulation) -> int:
        self.texts.append(text)
        self.expected.append(simulation)
        return 7

    async def workers(self, simulation: Simulation) -> list[WorkerRow]:
        return self.online

    def failure(self, run: int) -> str | None:
        return self.failed.get(run)


class Fake(Starter):
    """Starts nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.launches = Remembered()
        self._launches = self.launches  # type: ignore[assignment]
        self._checks = self._forecasts = Asked()  # type: ignore[assignment]


def send(browser: Browser, path: str, text: object, **headers: str) -> Any:
    """The answer to a POST from our own page."""
    body = json.dumps({"text": text})
    return browser.ask(path, "POST", body, X_Xsrftoken=browser.token(), **headers)


# Configurations


@pytest.mark.parametrize(
    "text", ["num_messages: 0", "sendrs: []", "a: [", "messages_from: caller", "- 1", "name: ''"]
)
def test_a_configuration_is_checked_by_the_rules_of_the_command_line(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_simulation(text, drafts.NAME)
    assert drafts.check(text) == {"problem": str(error.value)}
    assert drafts.forecast(text, None) == {"problem": str(error.value)}


@pytest.mark.parametrize("question", [drafts.check, lambda text: drafts.forecast(text, None)])
def test_a_configuration_that_no_worker_could_play_is_wrong(question: Callable[..., Any]) -> None:
    text = "batch_size: 20\nsenders: [{name: fast, mean_time: 3600, failure_rate: 0}]\n"
    problem = question(text)["problem"]
    assert problem.startswith("configuration: profile 'fast': 1 sender at 3600 s needs 72,000 s ")


def test_a_forecast_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise PipelineError("it does not end")

    monkeypatch.setattr(drafts, "look_ahead", fail)
    assert drafts.forecast(SMALL, None) == {"problem": "it does not end"}
    with pytest.raises(PipelineError, match=r"^it does not end$"):
        asyncio.run(Fake().forecast(SMALL))


def test_a_right_configuration_is_said_to_mean_something() -> None:
    answer = drafts.check(SMALL)
    assert answer["problem"] is None
    assert answer["means"].startswith("30 messages; senders fast 1 at 0 s")
    assert Simulation.model_validate_json(answer["simulation"], strict=False).num_messages == 30


@pytest.mark.parametrize("workers", [None, 2])
def test_the_forecast_is_that_of_the_command(workers: int | None) -> None:
    answer = drafts.forecast(SMALL, workers)
    outlook = look_ahead(read_simulation(SMALL, drafts.NAME), workers)
    assert answer["lines"] == outlook_lines(outlook, ())
    assert answer["workers"] == workers


def test_a_forecast_begins_now_by_the_clocks_of_its_hours() -> None:
    opens = datetime.now(UTC) + timedelta(hours=3)
    hours = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"
    answer = drafts.forecast(f"{SMALL}\nwindow: {hours}", None)
    assert answer["seconds"]["middle"] == pytest.approx(3 * 3_600, abs=90)


def test_a_run_s_configuration_can_be_used_again(run: Run) -> None:
    changed = run.simulation.model_copy(update={"name": "drill: ünlucky", "seed": 3})
    assert read_simulation(configuration_yaml(changed), "again") == changed
    assert read_simulation(Fake().text(), "built-in") == Simulation()


@pytest.mark.parametrize("start", [Starter.text, lambda *given: asyncio.run(Starter.again(*given))])
def test_a_run_whose_numbers_are_elsewhere_is_not_started_from_here(
    run: Run, start: Callable[..., Any]
) -> None:
    single = run.simulation.model_copy(update={"messages_from": "caller"})
    with pytest.raises(ConfigError, match=f"run {run.id} sent to numbers"):
        start(Fake(), dataclasses.replace(run, simulation=single))


# Runs to a file


@pytest.mark.parametrize("first", [None, 40])
def test_a_run_to_a_file_is_run_again_to_the_very_same(
    run: Run, tmp_path: Path, first: int | None
) -> None:
    # Given a run to all rows of a file, or to the first ones
    file = people.write(tmp_path / "people.csv")
    given = {} if first is None else {"num_messages": first}
    to_file = dataclasses.replace(run, simulation=people.checked(file, **given))
    fake = Fake()

    # When it is run again, then the command makes the very run of it that is waited for
    assert asyncio.run(fake.again(to_file)) == {"run": 7}
    again = tmp_path / "again.yml"
    again.write_text(fake.launches.texts[0])
    made = context.read_simulation(again, NO_OPTIONS, ())
    assert made == fake.launches.expected[0]
    assert made.num_messages == (first or 100)

    # And it does not go to another file in its place
    people.write(file, 101)
    with pytest.raises(ConfigError, match=r"people\.csv: is not the file that was asked for"):
        context.read_simulation(again, NO_OPTIONS, ())


def test_a_run_to_a_file_is_not_written_or_changed_from_here(run: Run, tmp_path: Path) -> None:
    file = people.write(tmp_path / "people.csv")
    to_file = dataclasses.replace(run, simulation=people.checked(file))
    with pytest.raises(ConfigError, match="from here it can only be run again as it was"):
        Fake().text(to_file)
    text = f"recipients: {file}\ntext: Go\n"
    for problem in (drafts.check(text), drafts.forecast(text, None)):
        assert problem == {
            "problem": "configuration: recipients: start a run to a file from a terminal"
        }


# Who would send it


def online(profile: SenderProfile, worker: str, senders: int | None = None) -> WorkerRow:
    count = profile.count if senders is None else senders
    return WorkerRow.playing(profile.model_copy(update={"count": count}), worker, 3, 1.0, 2.0)


def test_a_forecast_says_when_workers_have_other_senders() -> None:
    fake, simulation = Fake(), Simulation()
    fast, standard, slow = simulation.senders
    fake.launches.online = [online(fast, "a"), online(fast, "b"), online(standard, "c")]
    fake.launches.online.append(online(slow, "d"))
    text = "num_messages: 50"
    same = asyncio.run(fake.forecast(text))
    assert same["workers"] == 1
    fake.launches.online.append(online(slow, "e", 1_000))
    other = asyncio.run(fake.forecast(text))
    (added,) = other["lines"][len(same["lines"]) :]
    assert added == (
        "Note: workers have other senders than the configuration, and the run goes by those: "
        "slow 1,000 at 0.2 s failing 20%."
    )


# The process beside the server

_ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
_SILENT = "import sys\nfor line in sys.stdin: pass"
_BROKEN = "import sys; sys.stdin.readline()"
_CUT_OFF = "import sys; sys.stdin.readline(); print('{', end='')"


def test_a_question_is_answered_by_another_process() -> None:
    async def ask() -> dict[str, Any]:
        echo = Beside(20.0, (sys.executable, "-c", _ECHO))
        answers = [await echo.ask("check", text="a\nb") for _ in range(2)]
        await echo.close()
        assert answers[0] == answers[1]
        return answers[0]

    assert asyncio.run(ask()) == {"question": "check", "text": "a\nb"}


def test_a_question_that_takes_too_long_is_stopped_and_the_next_one_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []
    make_process = asyncio.create_subprocess_exec

    async def noted(*command: Any, **options: Any) -> Any:
        started.append(await make_process(*command, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)

    async def ask() -> None:
        silent = Beside(0.3, (sys.executable, "-c", _SILENT))
        for _ in range(2):
            with pytest.raises(TooMuchError, match=r"more than 0\.3 s$"):
                await silent.ask("check", text="")

    asyncio.run(ask())
    assert [process.returncode for process in started] == [-9, -9]


@pytest.mark.parametrize("script", [_BROKEN, _CUT_OFF])
def test_a_process_that_ends_is_told_from_one_that_takes_too_long(script: str) -> None:
    async def ask() -> None:
        broken = Beside(20.0, (sys.executable, "-c", script))
        with pytest.raises(NoAnswerError, match=r"^no answer came: "):
            await broken.ask("check", text="")
        assert broken._process is None

    asyncio.run(ask())


def test_too_many_questions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "MAX_WAITING", 2)

    async def ask() -> None:
        silent = Beside(20.0, (sys.executable, "-c", _SILENT))
        waiting = [asyncio.ensure_future(silent.ask("check", text="")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooMuchError, match="too many questions"):
            await silent.ask("check", text="")
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await silent.close()

    asyncio.run(ask())


# Starting


@pytest.fixture
def starting(ledger: Ledger) -> Iterator[Callable[..., Any]]:
    """Start a run by a command that is a few lines of Python."""

    def start(script: str, running: int = 0) -> Any:
        async def begin() -> Any:
            made = Launches(ledger, Settings(), (sys.executable, "-c", script))
            try:
                for _ in range(running):
                    made._launches.append(await made._launch("", False))
                return await made.start("", Simulation()), made
            finally:
                await made.close()

        return asyncio.run(begin())

    yield start


def test_a_command_that_fails_is_told(starting: Callable[..., Any]) -> None:
    with pytest.raises(PipelineError, match=r"^the broker is away$"):
        starting("import sys; sys.exit('a warning\\nError: the broker is away')")


def test_a_run_is_known_by_its_configuration(ledger: Ledger, starting: Callable[..., Any]) -> None:
    earlier = ledger.start_run(Simulation(), seed=1)
    found: list[int] = []
    original = ledger.page

    def page(*given: Any) -> Any:
        answer = original(*given)
        if not found:
            # In the meantime somebody else starts another run, and the command starts ours.
            ledger.start_run(make.simulation(), seed=2)
            found.append(ledger.start_run(Simulation(), seed=3).id)
        return answer

    ledger.page = page  # type: ignore[method-assign]
    number, _ = starting("import time; time.sleep(60)")
    assert number == found[0] > earlier.id


def test_a_command_that_starts_no_run_is_stopped(
    starting: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches, "START_SECONDS", 0.3)
    with pytest.raises(PipelineError, match="did not begin"):
        starting("import time; time.sleep(60)")


def test_only_so_many_go_on_at_once(
    starting: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches, "MAX_RUNNING", 1)
    with pytest.raises(PipelineError, match="still going on"):
        starting("import time; time.sleep(60)", running=1)


# Answers


def test_a_configuration_is_checked_and_started(serve: Callable[..., Browser]) -> None:
    fake = Fake()
    browser = serve(starter=fake)
    assert json.loads(send(browser, "/api/check", "num_messages: 0").body)["problem"]
    assert json.loads(send(browser, "/api/start", SMALL).body) == {"run": 7}
    refused = send(browser, "/api/start", "num_messages: 0")
    assert refused.code == HTTPStatus.BAD_REQUEST
    assert "num_messages" in json.loads(refused.body)["error"]
    assert fake.launches.texts == [SMALL]


def test_a_log_tells_what_was_asked_for_and_not_that_it_was_done(
    serve: Callable[..., Browser], run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    browser = serve(starter=Fake())
    for path in ("/api/start", "/api/runs/99/again"):
        assert send(browser, path, "num_messages: 0").code >= HTTPStatus.BAD_REQUEST
    told = [one.getMessage() for one in caplog.records if "from" in one.getMessage()]
    assert told == [
        "start a run, asked from 127.0.0.1",
        "start run 99 again, asked from 127.0.0.1",
    ]


def test_a_run_is_started_again_as_it_was(
    serve: Callable[..., Browser], ledger: Ledger, run: Run
) -> None:
    fake = Fake()
    browser = serve(starter=fake)
    assert send(browser, f"/api/runs/{run.id}/again", "").code == HTTPStatus.OK
    (text,) = fake.launches.texts
    assert read_simulation(text, "again") == run.simulation == fake.launches.expected[0]
    assert browser.json(f"/api/configuration?run={run.id}") == {"text": text}
    assert send(browser, "/api/runs/99/again", "").code == HTTPStatus.NOT_FOUND


def test_the_configuration_that_is_set_comes_first(
    serve: Callable[..., Browser], tmp_path: Path
) -> None:
    file = tmp_path / "alert.yml"
    file.write_text("# mine\nnum_messages: 5\n")
    browser = serve(starter=Fake(file))
    assert browser.json("/api/configuration?file=1")["text"] == "# mine\nnum_messages: 5\n"
    assert "alert.yml" in browser.ask("/start").body.decode()
    file.unlink()
    assert browser.ask("/api/configuration?file=1").code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"text": 5}', "\xff"])
def test_what_is_no_question_is_refused(serve: Callable[..., Browser], body: str) -> None:
    browser = serve(starter=Fake())
    answer = browser.ask("/api/check", "POST", body, X_Xsrftoken=browser.token())
    assert answer.code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("path", POSTS)
def test_starting_is_guarded_as_steering_is(
    serve: Callable[..., Browser], run: Run, path: str
) -> None:
    fake = Fake()
    browser = serve(starter=fake)
    body = json.dumps({"text": SMALL})
    foreign = send(browser, path, SMALL, Origin="http://evil.example")
    assert foreign.code == HTTPStatus.FORBIDDEN
    assert browser.ask(path, "POST", body).code == HTTPStatus.FORBIDDEN
    assert browser.ask(path).code == HTTPStatus.METHOD_NOT_ALLOWED
    locked = serve(starter=fake, password=PASSWORD)
    token = locked.token("/login")
    assert locked.ask(path, "POST", body, X_Xsrftoken=token).code == HTTPStatus.UNAUTHORIZED
    assert fake.launches.texts == []


@pytest.mark.parametrize("path", POSTS)
def test_read_only_starts_nothing(serve: Callable[..., Browser], run: Run, path: str) -> None:
    browser = serve(read_only=True)
    assert send(browser, path, SMALL).code == HTTPStatus.FORBIDDEN
    assert browser.ask("/api/configuration").code == HTTPStatus.FORBIDDEN
    assert browser.ask("/start").code == HTTPStatus.NOT_FOUND
    for page in ("/", f"/runs/{run.id}"):
        assert "/start" not in browser.ask(page).body.decode()
        assert "/start" in serve(starter=Fake()).ask(page).body.decode()


def test_a_run_that_was_started_here_and_failed_says_so(
    serve: Callable[..., Browser], run: Run
) -> None:
    fake = Fake()
    browser = serve(starter=fake)
    fake.launches.failed = {run.id: "the disk is full"}
    (notice,) = (
        one
        for one in browser.json(f"/api/runs/{run.id}")["shown"]["notices"]
        if "the disk is full" in one
    )
    assert notice == "what was started here ended with: the disk is full"
