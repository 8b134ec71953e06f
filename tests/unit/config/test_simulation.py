"""A configuration is right as a whole, or refused in one line that says what to do."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.config.files import load_simulation, override_profile, with_thresholds
from sms_pipeline.config.settings import DEFAULT_DATABASE_URL, ENVIRONMENT, load_settings
from sms_pipeline.core.profiles import MAX_BATCH_SIZE, SenderProfile
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation, parse_simulation
from sms_pipeline.errors import ConfigError
from tests.unit import make

pytestmark = pytest.mark.usefixtures("clean")

#: Of an earlier implementation; design.md, section 6.
EARLIER_FILE = """\
num_messages: 1000
report_period: 2.0
senders:
  - { mean_time: 0.05, failure_rate: 0.50 }
  - { mean_time: 0.10, failure_rate: 0.45 }
"""


def write(content: str | bytes) -> Path:
    path = Path("alert.yml")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(content: str | bytes) -> str:
    """The one line with which a file is refused."""
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        load_simulation(path)
    message = str(caught.value)
    assert message.startswith("alert.yml: ")
    assert "\n" not in message
    return message.removeprefix("alert.yml: ")


def sender(**values: Any) -> str:
    """A file with one sender."""
    return yaml.safe_dump({"senders": [{"mean_time": 0.1, "failure_rate": 0.1, **values}]})


# What is allowed


def test_file_of_the_earlier_implementation_works_unchanged() -> None:
    simulation = load_simulation(write(EARLIER_FILE))
    assert (simulation.num_messages, simulation.report_period) == (1_000, 2.0)
    assert [
        (one.name, one.mean_time, one.failure_rate, one.count) for one in simulation.senders
    ] == [("sender-1", 0.05, 0.5, 1), ("sender-2", 0.1, 0.45, 1)]


def test_defaults() -> None:
    simulation = load_simulation(None)
    assert simulation == Simulation()
    assert simulation.num_messages == 1_000
    assert simulation.report_period == 2.0
    assert [
        (one.name, one.count, one.mean_time, one.failure_rate) for one in simulation.senders
    ] == [("fast", 20, 0.05, 0.05), ("standard", 10, 0.1, 0.1), ("slow", 5, 0.2, 0.2)]
    assert all((one.shape, one.max_time) == (16, None) for one in simulation.senders)
    assert (simulation.seed, simulation.batch_size, simulation.routing) == (
        None,
        "auto",
        "adaptive",
    )
    assert (simulation.max_text_length, simulation.phone_format) == (100, "xxx-xxx-xxxx")
    retry = simulation.retry
    assert (retry.max_attempts, retry.backoff, retry.backoff_max) == (4, 1.0, 60.0)


def test_every_key() -> None:
    content = {
        "num_messages": 5,
        "report_period": 1,
        "seed": 1,
        "batch_size": 7,
        "routing": "static",
        "max_text_length": 20,
        "phone_format": "e164",
        "retry": {"max_attempts": None, "backoff": 0, "backoff_max": 5, "jitter": 0},
        "thresholds": [{"check": "failed < 1%", "abort": True}],
        "senders": [
            {
                "name": "a_B-3",
                "count": 2,
                "mean_time": 0,
                "failure_rate": 0.5,
                "shape": 4,
                "max_time": 3,
            }
        ],
    }
    simulation = load_simulation(write(yaml.safe_dump(content)))
    dumped = simulation.model_dump(mode="json", exclude={"stuck_after", "deadline"})
    assert dumped == content


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}", "---\n"])
def test_empty_file_is_the_defaults(content: str) -> None:
    assert load_simulation(write(content)) == Simulation()


@pytest.mark.parametrize("size", [1, MAX_BATCH_SIZE, "auto"])
def test_batch_sizes(size: int | str) -> None:
    assert load_simulation(write(f"batch_size: {size}")).batch_size == size


def test_anchors_and_merge_keys_are_yaml_as_usual() -> None:
    simulation = load_simulation(
        write(
            "senders:\n"
            "  - &base { mean_time: 0.1, failure_rate: 0.2 }\n"
            "  - { <<: *base, mean_time: 0.3 }\n"
        )
    )
    assert [(one.mean_time, one.failure_rate) for one in simulation.senders] == [
        (0.1, 0.2),
        (0.3, 0.2),
    ]


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Simulation().num_messages = 5  # type: ignore[misc]


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Simulation,
        num_messages=st.integers(1, 10**9),
        seed=st.none() | st.integers(0, 2**63 - 1),
        batch_size=st.just("auto") | st.integers(1, MAX_BATCH_SIZE),
        senders=st.tuples(st.builds(make.profile, mean_time=st.floats(0, 100))),
        retry=st.builds(RetryPolicy, max_attempts=st.none() | st.integers(1, 9)),
    )
)
def test_frozen_copy_in_the_ledger_is_read_back_the_same(simulation: Simulation) -> None:
    assert parse_simulation(simulation.model_dump_json()) == simulation


# What is refused: (file, key as shown, value as shown, what is allowed as shown)

BAD_FILES = [
    ("num_messages: 0", "num_messages", "0", "greater than or equal to 1"),
    ("num_messages: -5", "num_messages", "-5", "greater than or equal to 1"),
    ("num_messages: many", "num_messages", "'many'", "integer"),
    ("num_messages: 1.5", "num_messages", "1.5", "integer"),
    ("num_messages: true", "num_messages", "True", "integer"),
    ("num_messages: null", "num_messages", "None", "integer"),
    ("num_messages: '5'", "num_messages", "'5'", "integer"),
    ("num_messages: [5]", "num_messages", "[5]", "integer"),
    ("num_messages: 2020-01-01", "num_messages", "datetime", "integer"),
    ("num_messages: 4000000001", "num_messages", "4000000001", "4000000000"),
    ("report_period: 0", "report_period", "0", "greater than 0"),
    ("report_period: -1", "report_period", "-1", "greater than 0"),
    ("report_period: .nan", "report_period", "nan", "finite"),
    ("report_period: .inf", "report_period", "inf", "finite"),
    ("seed: -1", "seed", "-1", "greater than or equal to 0"),
    ("seed: 9223372036854775808", "seed", "9223372036854775808", "less than"),
    ("batch_size: 0", "batch_size", "0", "'auto' or a whole number from 1 to 20000"),
    ("batch_size: 20001", "batch_size", "20001", "'auto' or a whole number from 1 to 20000"),
    ("batch_size: big", "batch_size", "'big'", "'auto' or a whole number from 1 to 20000"),
    ("batch_size: 1.5", "batch_size", "1.5", "'auto' or a whole number from 1 to 20000"),
    ("routing: best", "routing", "'best'", "'adaptive' or 'static'"),
    ("max_text_length: 0", "max_text_length", "0", "greater than or equal to 1"),
    ("max_text_length: 1531", "max_text_length", "1531", "1530"),
    ("phone_format: us", "phone_format", "'us'", "'xxx-xxx-xxxx' or 'e164'"),
    ("stuck_after: 0", "stuck_after", "0", "greater than 0"),
    ("deadline: -1", "deadline", "-1", "greater than 0"),
    ("retry: 5", "retry", "5", "mapping"),
    ("retry: {max_attempts: 0}", "retry.max_attempts", "0", "greater than or equal to 1"),
    ("retry: {backoff: -1}", "retry.backoff", "-1", "greater than or equal to 0"),
    ("retry: {backoff: .nan}", "retry.backoff", "nan", "finite"),
    ("retry: {backoff_max: .inf}", "retry.backoff_max", "inf", "finite"),
    ("retry: {backoff_max: 86401}", "retry.backoff_max", "86401", "86400"),
    ("retry: {jitter: 1.5}", "retry.jitter", "1.5", "less than or equal to 1"),
    ("senders: []", "senders", "[]", "at least 1"),
    ("senders: 5", "senders", "5", "list"),
    ("senders: null", "senders", "None", "list"),
    ("senders: {fast: 1}", "senders", "{'fast': 1}", "list"),
    ("senders: [5]", "senders[0]", "5", "mapping"),
    (sender(mean_time=-0.1), "senders[0].mean_time", "-0.1", "greater than or equal to 0"),
    (sender(mean_time=float("nan")), "senders[0].mean_time", "nan", "finite"),
    (sender(mean_time=float("inf")), "senders[0].mean_time", "inf", "finite"),
    (sender(mean_time="fast"), "senders[0].mean_time", "'fast'", "number"),
    (sender(mean_time=True), "senders[0].mean_time", "True", "number"),
    (sender(failure_rate=-0.1), "senders[0].failure_rate", "-0.1", "greater than or equal to 0"),
    (sender(failure_rate=1.1), "senders[0].failure_rate", "1.1", "less than or equal to 1"),
    (sender(failure_rate="10 %"), "senders[0].failure_rate", "'10 %'", "number"),
    (sender(count=0), "senders[0].count", "0", "greater than or equal to 1"),
    (sender(count=10**8), "senders[0].count", "100000000", "10000000"),
    (sender(count=1.5), "senders[0].count", "1.5", "integer"),
    (sender(shape=0), "senders[0].shape", "0", "greater than 0"),
    (sender(max_time=0), "senders[0].max_time", "0", "greater than 0"),
    (sender(max_time=-1), "senders[0].max_time", "-1", "greater than 0"),
    (sender(name="a.b"), "senders[0].name", "'a.b'", "letters, digits, '-' or '_'"),
    (sender(name="a b"), "senders[0].name", "'a b'", "letters, digits, '-' or '_'"),
    (sender(name="a\n"), "senders[0].name", r"'a\n'", "letters, digits, '-' or '_'"),
    (sender(name="ä"), "senders[0].name", "'ä'", "letters, digits, '-' or '_'"),
    (sender(name="#"), "senders[0].name", "'#'", "letters, digits, '-' or '_'"),
    (sender(name="x" * 65), "senders[0].name", "'xxx", "1 to 64"),
    (sender(name=5), "senders[0].name", "5", "string"),
]


@pytest.mark.parametrize(
    ("content", "key", "value", "allowed"), BAD_FILES, ids=lambda value: str(value)[:40]
)
def test_bad_value_is_refused_by_key_value_and_what_is_allowed(
    content: str, key: str, value: str, allowed: str
) -> None:
    message = refusal(content)
    assert message.startswith(f"{key}: ")
    assert value in message
    assert allowed in message


@pytest.mark.parametrize(
    ("content", "key", "allowed"),
    [
        ("num_mesages: 5", "num_mesages", "num_messages"),
        ("int: 5", "int", "num_messages"),
        ("retry: {tries: 5}", "retry.tries", "max_attempts"),
        (sender(speed=5), "senders[0].speed", "mean_time"),
        (sender(int=5), "senders[0].int", "mean_time"),
    ],
)
def test_unknown_key_is_refused_with_the_keys_that_exist(
    content: str, key: str, allowed: str
) -> None:
    message = refusal(content)
    assert f"unknown key {key!r}" in message
    assert allowed in message.partition("allowed here")[2]


@pytest.mark.parametrize("key", ["mean_time", "failure_rate"])
def test_missing_key_is_refused(key: str) -> None:
    content = {"mean_time": 0.1, "failure_rate": 0.1}
    del content[key]
    message = refusal(yaml.safe_dump({"senders": [content]}))
    assert message.startswith(f"senders[0].{key}: is required")


@pytest.mark.parametrize(
    "content",
    [
        "num_messages: 0",
        "batch_size: big",
        "senders: [5]",
        "senders: [{mean_time: 0.1, failure_rate: 5}]",
        "senders: [{mean_time: 0.1, failure_rate: 0.1, speed: 1}]",
    ],
)
def test_one_problem_is_not_counted_as_more(content: str) -> None:
    assert "more)" not in refusal(content)


def test_further_problems_are_counted() -> None:
    assert refusal("num_messages: 0\nseed: -1\nroutin: x").endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("content", "key", "line"),
    [
        ("seed: 1\nseed: 2", "seed", 2),
        ("retry:\n  backoff: 1\n  backoff: 2", "backoff", 3),
        ("senders:\n- mean_time: 1\n  mean_time: 2", "mean_time", 3),
    ],
)
def test_duplicate_key_is_refused_with_its_line(content: str, key: str, line: int) -> None:
    message = refusal(content)
    assert f"line {line}: key {key!r}" in message
    assert "twice" in message


@pytest.mark.parametrize(
    ("names", "twice"),
    [(["a", "a"], "a"), (["sender-2", None], "sender-2"), ([None, "sender-1"], "sender-1")],
)
def test_duplicate_names_are_refused_also_with_a_default_one(
    names: list[str | None], twice: str
) -> None:
    entries = [
        {"mean_time": 1, "failure_rate": 0, **({"name": name} if name else {})} for name in names
    ]
    message = refusal(yaml.safe_dump({"senders": entries}))
    assert message.startswith("senders: ")
    assert repr(twice) in message
    assert "names must differ" in message


def test_run_that_could_never_end_is_refused() -> None:
    message = refusal(sender(name="dead", failure_rate=1) + "retry: {max_attempts: null}\n")
    for part in ("'dead'", "failure_rate 1", "retry.max_attempts"):
        assert part in message


def test_certain_failure_with_an_attempt_limit_is_allowed() -> None:
    assert load_simulation(write(sender(failure_rate=1))).senders[0].failure_rate == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("- 1\n- 2\n", "must be a mapping of keys to values, got a list"),
        ("hello", "must be a mapping of keys to values, got a str"),
        ("5", "must be a mapping of keys to values, got a int"),
        ("senders: [", "is not valid YAML: line 1"),
        ("a: b: c", "is not valid YAML: line 1"),
        ("a:\n\t- b", "is not valid YAML: line 2"),
        ("a: *b", "is not valid YAML: line 1"),
        ("? [1]\n: 2", "is not valid YAML: line 1"),
        ("a: !!python/object/apply:os.getcwd []", "is not valid YAML: line 1"),
        ("seed: 2020-13-45", "is not valid YAML"),
        ("[" * 400, "is not valid YAML"),
        ("seed: " + "1" * 5_000, "is not valid YAML"),
        (b"\xff\xfe\x00\x01", "is not UTF-8 text"),
        (b"seed: \x00\x01", "is not valid YAML"),
        (b"\x80\x02\x03", "is not UTF-8 text"),
        ("1: 2", "1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_file_that_is_no_configuration_is_refused(content: str | bytes, problem: str) -> None:
    assert problem in refusal(content)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yml", tmp_path):
        with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: can't be read: "):
            load_simulation(path)


def test_long_values_are_cut() -> None:
    assert len(refusal(f"routing: {'x' * 10_000}")) < 200


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*Simulation.model_fields, "surprise"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text("ab:{}[]\n", max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from([*SenderProfile.model_fields, "x"]), inner)
            ),
            max_leaves=6,
        ),
        min_size=1,
    )
)
def test_any_file_is_read_or_refused_in_one_line(content: dict[str, Any]) -> None:
    path = write(yaml.safe_dump(content))
    try:
        load_simulation(path)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("alert.yml: ")


# Options over the file


def test_options_override_the_file_and_the_file_the_defaults() -> None:
    path = write("num_messages: 5\nseed: 1\nretry: {backoff: 3}")
    simulation = load_simulation(path, {"seed": 2, "retry": {"max_attempts": 1}})
    assert (simulation.num_messages, simulation.seed) == (5, 2)
    assert (simulation.retry.backoff, simulation.retry.max_attempts) == (3, 1)
    assert simulation.routing == "adaptive"


def test_bad_option_is_not_blamed_on_the_file() -> None:
    with pytest.raises(ConfigError, match=r"^option: num_messages: .*got 0"):
        load_simulation(write("seed: 1"), {"num_messages": 0})


def test_unknown_profile_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"unknown profile 'fats'.*fast, standard, slow"):
        Simulation().profile("fats")
    assert Simulation().profile("slow").mean_time == 0.2


def test_profile_is_overridden_by_what_is_given() -> None:
    changed = override_profile(make.profile(), count=7, mean_time=None, failure_rate=0.0)
    assert changed == make.profile(count=7, failure_rate=0.0)


def test_bad_override_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'fast': failure_rate: .*got 2"):
        override_profile(make.profile(), failure_rate=2)


# Batch sizes


@pytest.mark.parametrize(
    ("profile", "size"),
    [
        (make.profile(count=10, mean_time=0.1), 50),
        (make.profile(count=1, mean_time=10), 1),
        (make.profile(count=1_000_000, mean_time=0.1), MAX_BATCH_SIZE),
        (make.profile(mean_time=0), MAX_BATCH_SIZE),
    ],
)
def test_auto_batch_is_half_a_second_of_work(profile: SenderProfile, size: int) -> None:
    simulation = make.simulation(num_messages=10**9, senders=(profile,))
    assert simulation.batch_size_for(profile) == profile.batch_size == size


def test_batches_of_long_texts_are_smaller() -> None:
    profile = make.profile(mean_time=0)
    short, long = (
        make.simulation(num_messages=10**9, senders=(profile,), max_text_length=length)
        for length in (100, 1_530)
    )
    assert short.batch_size_for(profile) == MAX_BATCH_SIZE
    assert 1_000 < long.batch_size_for(profile) < 2_000


def test_batch_that_the_broker_would_refuse_is_refused_with_one_that_fits() -> None:
    content = {"batch_size": MAX_BATCH_SIZE, "max_text_length": 1_530}
    with pytest.raises(ConfigError, match="use a batch_size of at most ") as refused:
        load_simulation(None, content)
    largest = int(str(refused.value).split("at most ")[1].split(",")[0])
    load_simulation(None, {**content, "batch_size": largest})


def test_small_runs_are_cut_finer_so_that_every_profile_gets_a_share() -> None:
    simulation = Simulation(num_messages=100)
    for profile in simulation.senders:
        size = simulation.batch_size_for(profile)
        share = 100 * profile.capacity / sum(one.capacity for one in simulation.senders)
        assert 1 <= size <= -(-share // 8)


@pytest.mark.parametrize("messages", [1, 2, 1_000])
def test_profiles_that_take_no_time_get_batches_too(messages: int) -> None:
    simulation = make.simulation(
        num_messages=messages, senders=(make.profile("a", mean_time=0), make.profile("b"))
    )
    assert all(simulation.batch_size_for(profile) >= 1 for profile in simulation.senders)


def test_configured_batch_size_is_kept() -> None:
    simulation = Simulation(batch_size=7)
    assert [simulation.batch_size_for(profile) for profile in simulation.senders] == [7] * 3


# Retries


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [(1, [False, False]), (2, [True, False]), (4, [True] * 3 + [False]), (None, [True] * 9)],
)
def test_attempts_are_limited(limit: int | None, allowed: list[bool]) -> None:
    policy = RetryPolicy(max_attempts=limit)
    assert [policy.allows_after(attempt) for attempt in range(len(allowed))] == allowed


# Settings


def test_settings_without_any_variable() -> None:
    found = load_settings({})
    assert found.embedded
    assert found.database_url == DEFAULT_DATABASE_URL
    assert (found.config, found.log_level, found.queue_type) == (None, "WARNING", "quorum")


def test_variables_set_the_settings() -> None:
    found = load_settings(
        {
            "CELERY_BROKER_URL": "amqp://host",
            "SMS_DATABASE_URL": "postgresql://host/db",
            "SMS_CONFIG": "alert.yml",
            "SMS_LOG_LEVEL": "DEBUG",
            "SMS_QUEUE_TYPE": "classic",
        }
    )
    assert not found.embedded
    assert found.broker_url == "amqp://host"
    assert found.database_url == "postgresql://host/db"
    assert found.config == Path("alert.yml")
    assert (found.log_level, found.queue_type) == ("DEBUG", "classic")


def test_dotenv_is_found_in_a_parent_folder_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("SMS_LOG_LEVEL=INFO\nSMS_QUEUE_TYPE=classic\n")
    folder = Path("a/b")
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    found = load_settings({"SMS_LOG_LEVEL": "ERROR"})
    assert (found.log_level, found.queue_type) == ("ERROR", "classic")


def test_dotenv_does_not_change_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SMS_LOG_LEVEL=INFO\n")
    load_settings()
    assert "SMS_LOG_LEVEL" not in os.environ


def test_empty_variables_are_not_set() -> None:
    assert load_settings(dict.fromkeys(ENVIRONMENT, "")) == load_settings({})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("SMS_LOG_LEVEL", "LOUD", "WARNING"), ("SMS_QUEUE_TYPE", "stream", "quorum, classic")],
)
def test_bad_variable_is_refused(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: .*{allowed}.*'{value}'"):
        load_settings({name: value})


@pytest.mark.parametrize("name", ["SMS_DATABASE_URL", "SMS_DASHBOARD_PASSWORD"])
def test_variable_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: is not UTF-8 text$"):
        load_settings({name: "\udcff"})


def test_dotenv_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"SMS_CONFIG=\xff")
    with pytest.raises(ConfigError, match=r"\.env: is not UTF-8 text$"):
        load_settings({})


def test_folder_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"^\.env: can't be read: No such file"):
        load_settings({})


# Thresholds


def test_a_threshold_is_a_check_or_a_mapping_with_one() -> None:
    text = "thresholds: ['failed < 1%', {check: lost == 0, abort: true}]"
    found = load_simulation(write(text)).thresholds
    assert [(one.check, one.abort) for one in found] == [
        ("failed < 1%", False),
        ("lost == 0", True),
    ]


def test_thresholds_are_frozen_with_the_run() -> None:
    simulation = load_simulation(write("thresholds: [{check: failed < 1%, abort: true}]"))
    assert parse_simulation(simulation.model_dump_json()) == simulation


def test_thresholds_of_the_command_line_come_on_top() -> None:
    simulation = load_simulation(write("thresholds: ['failed < 1%']"))
    more = with_thresholds(simulation, ["lost == 0"])
    assert [one.check for one in more.thresholds] == ["failed < 1%", "lost == 0"]


def test_a_bad_check_is_pointed_at() -> None:
    path = write("thresholds: ['failed < 1%', 'p95 delivery < 30']")
    with pytest.raises(ConfigError) as caught:
        load_simulation(path)
    assert str(caught.value).splitlines() == [
        f"{path}: thresholds[1]: needs a unit; use ms, s, m or h",
        "    p95 delivery < 30",
        "                     ^",
    ]


def test_a_bad_check_of_the_command_line_is_pointed_at() -> None:
    with pytest.raises(ConfigError, match=r"^--threshold: '=' is not a comparison") as caught:
        with_thresholds(Simulation(), ["lost = 0"])
    assert str(caught.value).splitlines()[1:] == ["    lost = 0", "         ^"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thresholds: failed < 1%", "thresholds: should be a list"),
        ("thresholds: [5]", r"thresholds\[0\]: should be a mapping"),
        ("thresholds: [{abort: true}]", r"thresholds\[0\]\.check: is required"),
        ("thresholds: [{check: lost == 0, halt: 1}]", "unknown key .*; allowed here: check, abort"),
        ("thresholds: [{check: lost == 0, abort: 1}]", r"thresholds\[0\]\.abort: .* got 1"),
    ],
)
def test_thresholds_of_a_wrong_form_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_simulation(write(text))
