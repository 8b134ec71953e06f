"""A file is read as a whole, or refused in one line in the words of the one who wrote it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms_pipeline.config.files import (
    dotted,
    load_simulation,
    new_profile,
    override_profile,
    override_simulation,
    with_thresholds,
)
from sms_pipeline.config.problems import MAX_LISTED
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import MAX_BATCH_SIZE, SenderProfile
from sms_pipeline.core.simulation import Simulation
from tests.unit import make

pytestmark = pytest.mark.usefixtures("clean")

#: Of an earlier implementation.
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
    return re.sub(r"^line \d+: ", "", message.removeprefix("alert.yml: "))


def problems(content: str) -> list[str]:
    """The lines below the first, with which a file of several mistakes is refused."""
    with pytest.raises(ConfigError) as caught:
        load_simulation(write(content))
    first, *listed = str(caught.value).splitlines()
    assert first == f"alert.yml: {len(listed)} problems"
    return [line.removeprefix("  ") for line in listed]


def sender(**values: Any) -> str:
    """A file with one sender."""
    return yaml.safe_dump({"senders": [{"mean_time": 0.1, "failure_rate": 0.1, **values}]})


# What is read


def test_file_of_the_earlier_implementation_works_unchanged() -> None:
    simulation = load_simulation(write(EARLIER_FILE))
    assert (simulation.num_messages, simulation.report_period) == (1_000, 2.0)
    assert [
        (one.name, one.mean_time, one.failure_rate, one.count) for one in simulation.senders
    ] == [("sender-1", 0.05, 0.5, 1), ("sender-2", 0.1, 0.45, 1)]


def test_every_key() -> None:
    content = {
        "name": "drill 3",
        "messages_from": "seed",
        "recipients": {
            "file": "/lists/people.csv",
            "column": "mobile",
            "only": None,
            "sha256": None,
            "contents": None,
        },
        "text": "Evacuate {zone} now.",
        "tags": {"region": "north"},
        "num_messages": 5,
        "report_period": 1,
        "seed": 1,
        "batch_size": 7,
        "urgent": True,
        "rate": 0.5,
        "window": {"hours": "08:00-21:00", "zone": "Europe/Berlin"},
        "routing": "static",
        "failover": {"attempts": None, "to": None, "unattended": 5},
        "max_text_length": 20,
        "phone_format": "e164",
        "alphabet": "mixed",
        "deadline": 9.5,
        "stuck_after": 8,
        "retry": {"max_attempts": None, "backoff": 0, "backoff_max": 5, "jitter": 0},
        "thresholds": [{"check": "failed < 1%", "abort": True}],
        "events": [
            {
                "at": 1,
                "for": 2,
                "profile": "a_B-3",
                "outage": True,
                "slowdown": 2,
                "failure_rate": 1,
                "share": 0.5,
            }
        ],
        "senders": [
            {
                "name": "a_B-3",
                "count": 2,
                "mean_time": 0,
                "failure_rate": 0.5,
                "shape": 4,
                "max_time": 3,
                "times": None,
                "preset": "us-toll-free",
                "parts_per_second": None,
                "validity": 3_600,
                "daily_cap": 10,
                "price": 0.5,
                "receipts": {"mean_time": 4, "shape": 2, "max_time": 60, "missing": 0.1},
            }
        ],
    }
    assert content.keys() == Simulation.model_fields.keys()
    simulation = load_simulation(write(yaml.safe_dump(content)))
    assert simulation.model_dump(mode="json") == content


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}", "---\n", None])
def test_empty_file_or_none_is_the_defaults(content: str | None) -> None:
    assert load_simulation(None if content is None else write(content)) == Simulation()


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


def test_thresholds_are_read_as_text_or_as_a_mapping() -> None:
    found = load_simulation(write("thresholds: ['failed < 1%', {check: lost == 0, abort: true}]"))
    assert [(one.check, one.abort) for one in found.thresholds] == [
        ("failed < 1%", False),
        ("lost == 0", True),
    ]


# What is refused: (file, key as shown, value as shown, what is allowed as shown)

BAD_FILES = [
    ("num_messages: 0", "num_messages", "0", "greater than or equal to 1"),
    ("num_messages: many", "num_messages", "'many'", "integer"),
    ("num_messages: true", "num_messages", "True", "integer"),
    ("num_messages: null", "num_messages", "None", "integer"),
    ("num_messages: '5'", "num_messages", "'5'", "integer"),
    ("num_messages: [5]", "num_messages", "[5]", "integer"),
    ("num_messages: 2020-01-01", "num_messages", "datetime", "integer"),
    ("report_period: .nan", "report_period", "nan", "finite"),
    ("report_period: .inf", "report_period", "inf", "finite"),
    ("batch_size: big", "batch_size", "'big'", "'auto' or a whole number from 1 to 20000"),
    ("routing: best", "routing", "'best'", "'adaptive' or 'static'"),
    ("retry: 5", "retry", "5", "mapping"),
    ("retry: {max_attempts: 0}", "retry.max_attempts", "0", "greater than or equal to 1"),
    ("retry: {backoff: .nan}", "retry.backoff", "nan", "finite"),
    ("senders: []", "senders", "[]", "at least 1"),
    ("senders: 5", "senders", "5", "list"),
    ("senders: null", "senders", "None", "list"),
    ("senders: {fast: 1}", "senders", "{'fast': 1}", "list"),
    ("senders: [5]", "senders[0]", "5", "mapping"),
    (sender(mean_time=-0.1), "senders[0].mean_time", "-0.1", "greater than or equal to 0"),
    (sender(mean_time=float("nan")), "senders[0].mean_time", "nan", "finite"),
    (sender(failure_rate="10 %"), "senders[0].failure_rate", "'10 %'", "number"),
    (sender(count=10**8), "senders[0].count", "100000000", "10000000"),
    (sender(name="a.b"), "senders[0].name", "'a.b'", "letters, digits, '-' or '_'"),
    (sender(name="a\n"), "senders[0].name", r"'a\n'", "letters, digits, '-' or '_'"),
    (sender(name="x" * 65), "senders[0].name", "'xxx", "1 to 64"),
    ("thresholds: failed < 1%", "thresholds", "'failed < 1%'", "list"),
    ("thresholds: [5]", "thresholds[0]", "5", "mapping"),
    ("thresholds: [{check: lost == 0, abort: 1}]", "thresholds[0].abort", "1", "boolean"),
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
    ("content", "key", "instead"),
    [
        ("num_mesages: 5", "num_mesages", "did you mean 'num_messages'?"),
        ("int: 5", "int", "allowed here: name, tags, num_messages"),
        ("retry: {tries: 5}", "retry.tries", "allowed here: max_attempts"),
        ("retry: {backof: 5}", "retry.backof", "did you mean 'backoff'?"),
        ("max_attempts: 5", "max_attempts", "did you mean 'retry.max_attempts'?"),
        ("failure_rate: 0", "failure_rate", "did you mean 'senders[0].failure_rate'?"),
        ("missing: 0", "missing", "did you mean 'senders[0].receipts.missing'?"),
        (sender(tempo=5), "senders[0].tempo", "allowed here: name, mean_time"),
        ("events: [{at: 1, for: 5, until: 9}]", "events[0].until", "allowed here: at, for"),
        (sender(counts=5), "senders[0].counts", "did you mean 'count'?"),
        ("thresholds: [{check: lost == 0, halt: 1}]", "thresholds[0].halt", "check, abort"),
    ],
)
def test_unknown_key_is_refused_with_what_to_write_instead(
    content: str, key: str, instead: str
) -> None:
    message = refusal(content)
    assert message.startswith(f"unknown key {key!r}; ")
    assert instead in message


def test_a_word_that_is_almost_right_is_suggested() -> None:
    message = refusal("routing: Statik")
    assert message.endswith("got 'Statik'; did you mean 'static'?")
    assert "did you mean" not in refusal("routing: best")


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("senders: [{mean_time: 1}]", "senders[0].failure_rate"),
        ("senders: [{failure_rate: 0}]", "senders[0].mean_time"),
        ("thresholds: [{abort: true}]", "thresholds[0].check"),
    ],
)
def test_missing_key_is_refused(content: str, key: str) -> None:
    assert refusal(content).startswith(f"{key}: is required")


MANY_MISTAKES = """\
# An alert.
num_mesages: 5
seed: -1
senders:
  - { mean_time: 0.1, failure_rate: 0.1 }
  - mean_time: 0.1
    failure_rate: 5
  - mean_time: 0.1
thresholds:
  - failed < 1%
  - p95 delivery < 30
"""


def test_all_problems_are_listed_with_their_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        load_simulation(write(MANY_MISTAKES))
    assert str(caught.value).splitlines() == [
        "alert.yml: 5 problems",
        "  line 2: unknown key 'num_mesages'; did you mean 'num_messages'?",
        "  line 3: seed: should be greater than or equal to 0, got -1",
        "  line 7: senders[1].failure_rate: should be less than or equal to 1, got 5",
        "  line 8: senders[2].failure_rate: is required",
        "  line 11: thresholds[1]: needs a unit; use ms, s, m or h",
        "      p95 delivery < 30",
        "                       ^",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("\nnum_messages: 0", 2),
        ("retry:\n  jitter: 0\n  backoff: -1", 3),
        ("tags:\n  a: b\n  c: 5", 3),
        ("senders:\n- {mean_time: 1, failure_rate: 0}\n- 5", 3),
        ("senders:\n- &a\n  mean_time: -1\n  failure_rate: 0\n", 3),
        ("senders:\n- &a\n  mean_time: 1\n  failure_rate: 0\n- <<: *a\n  count: 0", 6),
        ("senders:\n-\n  times:\n  - 1\n  - -1\n  failure_rate: 0", 5),
    ],
)
def test_the_line_is_that_of_the_value(content: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"^alert.yml: line {line}: "):
        load_simulation(write(content))


def test_what_is_merged_in_has_the_line_where_it_is_written() -> None:
    content = "senders:\n- &a {failure_rate: 0}\n- mean_time: -1\n  <<: *a\n"
    assert [text.partition(": s")[0] for text in problems(content)] == ["line 2", "line 3"]


def test_problems_without_end_are_counted() -> None:
    keys = "".join(f"key{number}: 1\n" for number in range(MAX_LISTED + 3))
    with pytest.raises(ConfigError) as caught:
        load_simulation(write(keys))
    first, *listed, last = str(caught.value).splitlines()
    assert first == f"alert.yml: {MAX_LISTED + 3} problems"
    assert len(listed) == MAX_LISTED
    assert last == "  and 3 more"


@pytest.mark.parametrize(
    ("content", "key", "line"),
    [
        ("seed: 1\nseed: 2", "seed", 2),
        ("retry:\n  backoff: 1\n  backoff: 2", "backoff", 3),
        ("senders:\n- mean_time: 1\n  mean_time: 2", "mean_time", 3),
    ],
)
def test_duplicate_key_is_refused_with_its_line(content: str, key: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        load_simulation(write(content))
    message = str(caught.value)
    assert message == f"alert.yml: line {line}: key {key!r} is given twice; keep one"


def test_duplicate_names_are_refused() -> None:
    message = refusal("senders: [{name: a, mean_time: 1, failure_rate: 0}, "
                      "{name: a, mean_time: 2, failure_rate: 0}]")  # fmt: skip
    assert message.startswith("senders: ")
    assert "'a'" in message


def test_what_does_not_fit_together_is_refused_without_a_key() -> None:
    message = refusal(sender(name="dead", failure_rate=1) + "retry: {max_attempts: null}\n")
    assert message.startswith("sender 'dead'")
    assert "got" not in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("- 1\n- 2\n", "must be a mapping of keys to values, got a list"),
        ("hello", "must be a mapping of keys to values, got a single value"),
        ("5", "must be a mapping of keys to values, got a single value"),
        ("senders: [", "is not valid YAML: expected the node content"),
        ("a: b: c", "is not valid YAML: mapping values"),
        ("a:\n\t- b", "is not valid YAML: found character"),
        ("a: *b", "is not valid YAML: found undefined alias"),
        ("? [1]\n: 2", "is not valid YAML: found unhashable key"),
        ("a: !!python/object/apply:os.getcwd []", "is not valid YAML: could not determine"),
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


def test_a_bad_check_is_pointed_at() -> None:
    path = write("thresholds: ['failed < 1%', 'p95 delivery < 30']")
    with pytest.raises(ConfigError) as caught:
        load_simulation(path)
    assert str(caught.value).splitlines() == [
        f"{path}: line 1: thresholds[1]: needs a unit; use ms, s, m or h",
        "    p95 delivery < 30",
        "                     ^",
    ]


@settings(max_examples=60, deadline=None)
@example({**dict.fromkeys(Simulation.model_fields, 0.5), "thresholds": ["", ""]})
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
def test_any_file_is_read_or_refused_in_a_few_lines(content: dict[str, Any]) -> None:
    path = write(yaml.safe_dump(content))
    try:
        load_simulation(path)
    except ConfigError as error:
        first, *listed = str(error).splitlines()
        assert first.startswith("alert.yml: ")
        # A threshold's mistake is pointed at, below its line.
        is_pointed = str(error).endswith("^")
        assert (first.endswith(" problems") or is_pointed) == bool(listed)
        problems = [line for line in listed if re.match(r"  \S", line)]
        assert len(problems) <= MAX_LISTED + 1


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


def test_options_together_can_be_refused() -> None:
    options = {"batch_size": MAX_BATCH_SIZE, "max_text_length": 1_530}
    with pytest.raises(ConfigError, match=r"^option: .*use a batch_size of at most \d+"):
        load_simulation(None, options)


NAMED = {"report_period": "--every", "retry.max_attempts": "--max-attempts", "tags": "--tag"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"report_period": 0}, r"^--every: should be greater .* got 0$"),
        ({"retry": {"max_attempts": 0}}, r"^--max-attempts: should be .*got 0$"),
        ({"tags": {"a": ""}}, r"^--tag: must be 1 to 64 printable characters"),
        ({"tags": {"a": 5}}, r"^--tag: should be a valid string, got 5$"),
        (
            {"report_period": 0, "tags": {"a": ""}},
            r"^options: 2 problems\n  --tag: .*\n  --every: ",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_problem_is_told_by_the_name_of_the_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_simulation(None, options, NAMED)


def test_options_that_do_not_go_together_are_named_without_the_others() -> None:
    file = write("senders: [{mean_time: 1, failure_rate: 1}]")
    with pytest.raises(ConfigError, match=r"^--max-attempts: sender 'sender-1' has"):
        load_simulation(file, {"retry": {"max_attempts": None}}, NAMED)


def test_options_override_the_configuration_of_a_run() -> None:
    simulation = make.simulation(num_messages=5, thresholds=["lost == 0"])
    changed = override_simulation(simulation, {"report_period": 9.0})
    assert changed == make.simulation(num_messages=5, thresholds=["lost == 0"], report_period=9.0)
    with pytest.raises(ConfigError, match=r"^option: report_period: .*got 0"):
        override_simulation(simulation, {"report_period": 0})


def test_profile_is_overridden_by_what_is_given() -> None:
    changed = override_profile(make.profile(), count=7, mean_time=None, failure_rate=0.0)
    assert changed == make.profile(count=7, failure_rate=0.0)


def test_new_profile_has_the_name_it_is_given() -> None:
    assert new_profile("brand-new_1").name == "brand-new_1"


@pytest.mark.parametrize("name", ["two words", "dots.in.it", "x" * 65])
def test_new_profile_with_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^--profile: must be 1 to 64"):
        new_profile(name)


def test_bad_override_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^option: failure_rate: .*got 2"):
        override_profile(make.profile(), failure_rate=2)
    named = {"count": "--senders", "failure_rate": "--failure-rate"}
    with pytest.raises(ConfigError) as caught:
        override_profile(make.profile(), named, failure_rate=2, count=0)
    assert str(caught.value).splitlines() == [
        "options: 2 problems",
        "  --failure-rate: should be less than or equal to 1, got 2",
        "  --senders: should be greater than or equal to 1, got 0",
    ]


def test_thresholds_of_the_command_line_come_on_top() -> None:
    simulation = load_simulation(write("thresholds: ['failed < 1%']"))
    more = with_thresholds(simulation, ["lost == 0"])
    assert [one.check for one in more.thresholds] == ["failed < 1%", "lost == 0"]


def test_a_bad_check_of_the_command_line_is_pointed_at() -> None:
    with pytest.raises(ConfigError, match=r"^--threshold: '=' is not a comparison") as caught:
        with_thresholds(Simulation(), ["lost = 0"])
    assert str(caught.value).splitlines()[1:] == ["    lost = 0", "         ^"]


def test_keys_within_keys_are_written_with_dots() -> None:
    assert dict(dotted({"a": 1, "b": {"c": {"d": [2]}, "e": None}})) == {
        "a": 1, "b.c.d": [2], "b.e": None,
    }  # fmt: skip


def test_messages_of_a_caller_are_not_for_a_file() -> None:
    file = write("messages_from: caller")
    with pytest.raises(ConfigError, match=r"messages_from: must be 'seed'") as refused:
        load_simulation(file)
    assert str(refused.value).startswith(f"{file}: ")
