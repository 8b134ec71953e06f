"""What to rehearse is right as a whole, or refused by key, with what is allowed."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sms_pipeline.core.checks import BAD_CHECK
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import MAX_BATCH_SIZE, SenderProfile
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import (
    AUTO_BATCH_BYTES,
    MAX_BATCH_BYTES,
    MIN_BATCHES_PER_PROFILE,
    Simulation,
    parse_simulation,
)
from tests.unit import make


def refusal(**values: Any) -> dict[str, Any]:
    """The one problem with which it is refused."""
    with pytest.raises(ValidationError) as caught:
        Simulation(**values)
    (problem,) = caught.value.errors()
    return dict(problem)


def sender(**values: Any) -> dict[str, Any]:
    """A simulation with one sender."""
    return {"senders": [{"mean_time": 0.1, "failure_rate": 0.1, **values}]}


# What is allowed


def test_defaults() -> None:
    simulation = Simulation()
    assert simulation.num_messages == 1_000
    assert simulation.report_period == 2.0
    assert [
        (one.name, one.count, one.mean_time, one.failure_rate) for one in simulation.senders
    ] == [("fast", 20, 0.05, 0.05), ("standard", 10, 0.1, 0.1), ("slow", 5, 0.2, 0.2)]
    assert all((one.shape, one.max_time) == (16, None) for one in simulation.senders)
    assert (simulation.seed, simulation.batch_size) == (None, "auto")
    assert (simulation.routing, simulation.thresholds) == ("adaptive", ())
    assert (simulation.deadline, simulation.stuck_after) == (None, 300)
    assert (simulation.max_text_length, simulation.phone_format) == (100, "xxx-xxx-xxxx")
    retry = simulation.retry
    assert (retry.max_attempts, retry.backoff, retry.backoff_max) == (4, 1.0, 60.0)
    assert retry.jitter == 0.5


@pytest.mark.parametrize("size", [1, MAX_BATCH_SIZE, "auto"])
def test_batch_sizes(size: int | str) -> None:
    assert Simulation(batch_size=size).batch_size == size  # type: ignore[arg-type]


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
        thresholds=st.lists(st.sampled_from(["failed < 1%", {"check": "lost == 0"}]), max_size=2),
    )
)
def test_frozen_copy_in_the_ledger_is_read_back_the_same(simulation: Simulation) -> None:
    assert parse_simulation(simulation.model_dump_json()) == simulation


# What is refused

BAD_VALUES: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    ({"num_messages": 0}, ("num_messages",), "greater than or equal to 1"),
    ({"num_messages": 1.5}, ("num_messages",), "integer"),
    ({"num_messages": True}, ("num_messages",), "integer"),
    ({"num_messages": "5"}, ("num_messages",), "integer"),
    ({"num_messages": 4_000_000_001}, ("num_messages",), "4000000000"),
    ({"report_period": 0}, ("report_period",), "greater than or equal to 0.001"),
    ({"report_period": 3_601}, ("report_period",), "3600"),
    ({"report_period": math.nan}, ("report_period",), "finite"),
    ({"report_period": math.inf}, ("report_period",), "finite"),
    ({"seed": -1}, ("seed",), "greater than or equal to 0"),
    ({"seed": 2**63}, ("seed",), "less than"),
    ({"batch_size": 0}, ("batch_size",), "'auto' or a whole number from 1 to 20000"),
    ({"batch_size": 20_001}, ("batch_size",), "'auto' or a whole number from 1 to 20000"),
    ({"batch_size": "big"}, ("batch_size",), "'auto' or a whole number from 1 to 20000"),
    ({"batch_size": 1.5}, ("batch_size",), "'auto' or a whole number from 1 to 20000"),
    ({"batch_size": True}, ("batch_size",), "'auto' or a whole number from 1 to 20000"),
    ({"batch_size": None}, ("batch_size",), "'auto' or a whole number from 1 to 20000"),
    ({"routing": "best"}, ("routing",), "'adaptive' or 'static'"),
    ({"max_text_length": 0}, ("max_text_length",), "greater than or equal to 1"),
    ({"max_text_length": 1_531}, ("max_text_length",), "1530"),
    ({"phone_format": "us"}, ("phone_format",), "'xxx-xxx-xxxx', 'e164' or 'any'"),
    ({"stuck_after": 0}, ("stuck_after",), "greater than 0"),
    ({"stuck_after": 1e9}, ("stuck_after",), "31536000"),
    ({"deadline": 1e9}, ("deadline",), "31536000"),
    ({"deadline": 0}, ("deadline",), "greater than 0"),
    ({"retry": {"max_attempts": 0}}, ("retry", "max_attempts"), "greater than or equal to 1"),
    ({"retry": {"max_attempts": 1_000_001}}, ("retry", "max_attempts"), "1000000"),
    ({"retry": {"max_attempts": 2**64}}, ("retry", "max_attempts"), "1000000"),
    ({"retry": {"backoff": 86_401}}, ("retry", "backoff"), "86400"),
    ({"retry": {"backoff": -1}}, ("retry", "backoff"), "greater than or equal to 0"),
    ({"retry": {"backoff": math.nan}}, ("retry", "backoff"), "finite"),
    ({"retry": {"backoff_max": -1}}, ("retry", "backoff_max"), "greater than or equal to 0"),
    ({"retry": {"backoff_max": 86_401}}, ("retry", "backoff_max"), "86400"),
    ({"retry": {"jitter": -0.1}}, ("retry", "jitter"), "greater than or equal to 0"),
    ({"retry": {"jitter": 1.5}}, ("retry", "jitter"), "less than or equal to 1"),
    ({"senders": []}, ("senders",), "at least 1"),
    ({"senders": [{"mean_time": 0, "failure_rate": 0}] * 1_001}, ("senders",), "at most 1000"),
    (sender(mean_time=-0.1), ("senders", 0, "mean_time"), "greater than or equal to 0"),
    (sender(mean_time=math.inf), ("senders", 0, "mean_time"), "finite"),
    (sender(mean_time="fast"), ("senders", 0, "mean_time"), "number"),
    (sender(mean_time=True), ("senders", 0, "mean_time"), "number"),
    (sender(failure_rate=-0.1), ("senders", 0, "failure_rate"), "greater than or equal to 0"),
    (sender(failure_rate=1.1), ("senders", 0, "failure_rate"), "less than or equal to 1"),
    (sender(count=0), ("senders", 0, "count"), "greater than or equal to 1"),
    (sender(count=10**8), ("senders", 0, "count"), "10000000"),
    (sender(count=1.5), ("senders", 0, "count"), "integer"),
    (sender(shape=0), ("senders", 0, "shape"), "greater than or equal to 0.01"),
    (sender(shape=1_000_001), ("senders", 0, "shape"), "1000000"),
    (sender(mean_time=86_401), ("senders", 0, "mean_time"), "86400"),
    (sender(max_time=86_401), ("senders", 0, "max_time"), "86400"),
    (sender(max_time=0), ("senders", 0, "max_time"), "greater than 0"),
    *(
        (sender(name=name), ("senders", 0, "name"), "1 to 64 letters, digits, '-' or '_'")
        for name in ("a.b", "a b", "a\n", "ä", "#", "x" * 65)
    ),
    (sender(name=5), ("senders", 0, "name"), "string"),
    (sender(speed=5), ("senders", 0, "speed"), "not permitted"),
    ({"num_mesages": 5}, ("num_mesages",), "not permitted"),
    ({"retry": {"tries": 5}}, ("retry", "tries"), "not permitted"),
    ({"thresholds": [{"abort": True}]}, ("thresholds", 0, "check"), "required"),
    ({"thresholds": [{"check": "lost == 0", "halt": 1}]}, ("thresholds", 0, "halt"), "permitted"),
    ({"thresholds": [{"check": "lost == 0", "abort": 1}]}, ("thresholds", 0, "abort"), "boolean"),
    ({"thresholds": [{"check": "lost == 0"}] * 101}, ("thresholds",), "at most 100"),
    ({"thresholds": [{"check": "lost" + " " * 300 + "== 0"}]}, ("thresholds", 0, "check"), "200"),
    ({"thresholds": [5]}, ("thresholds", 0), "dictionary or instance of Threshold"),
]


@pytest.mark.parametrize(
    ("values", "key", "allowed"), BAD_VALUES, ids=lambda value: str(value)[:40]
)
def test_bad_value_is_refused_by_key_and_what_is_allowed(
    values: dict[str, Any], key: tuple[str | int, ...], allowed: str
) -> None:
    problem = refusal(**values)
    assert problem["loc"] == key
    assert allowed in problem["msg"]


@pytest.mark.parametrize("key", ["mean_time", "failure_rate"])
def test_missing_key_is_refused(key: str) -> None:
    content = {"mean_time": 0.1, "failure_rate": 0.1}
    del content[key]
    problem = refusal(senders=[content])
    assert (problem["type"], problem["loc"]) == ("missing", ("senders", 0, key))


# Names


def test_senders_without_a_name_are_numbered() -> None:
    names: list[dict[str, str]] = [{}, {"name": "a_B-3"}, {"name": "x" * 64}, {}]
    senders = [{"mean_time": 0.1, "failure_rate": 0.1, **name} for name in names]
    found = Simulation(senders=senders).senders  # type: ignore[arg-type]
    assert [one.name for one in found] == ["sender-1", "a_B-3", "x" * 64, "sender-4"]


@pytest.mark.parametrize(
    ("names", "twice"),
    [
        (["a", "a"], "a"),
        (["a", "b", "b"], "b"),
        (["b", "a", "b", "a"], "a"),
        (["sender-2", None], "sender-2"),
        ([None, "sender-1"], "sender-1"),
    ],
)
def test_duplicate_names_are_refused_also_with_a_default_one(
    names: list[str | None], twice: str
) -> None:
    senders = [
        {"mean_time": 1, "failure_rate": 0, **({"name": name} if name else {})} for name in names
    ]
    problem = refusal(senders=senders)
    assert problem["loc"] == ("senders",)
    assert f"names must differ, but {twice!r}" in problem["msg"]


def test_profile_is_found_by_its_name() -> None:
    assert [Simulation().profile(name).mean_time for name in ("fast", "slow")] == [0.05, 0.2]


def test_unknown_profile_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"unknown profile 'fats'.* fast, standard, slow$"):
        Simulation().profile("fats")


# Runs that would not end


def test_run_that_could_never_end_is_refused() -> None:
    senders = [make.profile("good"), make.profile("dead", failure_rate=1)]
    message = refusal(senders=senders, retry={"max_attempts": None})["msg"]
    for part in ("'dead'", "failure_rate 1", "retry.max_attempts"):
        assert part in message


@pytest.mark.parametrize(("failure_rate", "attempts"), [(1.0, 4), (0.99, None)])
def test_run_that_ends_in_the_end_is_allowed(failure_rate: float, attempts: int | None) -> None:
    senders = (make.profile(failure_rate=failure_rate),)
    simulation = Simulation(senders=senders, retry=RetryPolicy(max_attempts=attempts))
    assert simulation.senders[0].failure_rate == failure_rate


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


@pytest.mark.parametrize("length", [100, 101, 1_530])
def test_batches_of_long_texts_are_smaller(length: int) -> None:
    profile = make.profile(mean_time=0)
    simulation = make.simulation(num_messages=10**9, senders=(profile,), max_text_length=length)
    # A number and two separators stand beside each text.
    fitting = AUTO_BATCH_BYTES // (length + len("xxx-xxx-xxxx") + 2)
    assert simulation.batch_size_for(profile) == min(fitting, MAX_BATCH_SIZE)
    assert (fitting >= MAX_BATCH_SIZE) is (length == 100)


@pytest.mark.parametrize(("batch_size", "length"), [(MAX_BATCH_SIZE, 1_530), (20_000, 825)])
def test_batch_that_the_broker_would_refuse_is_refused_with_one_that_fits(
    batch_size: int, length: int
) -> None:
    message = refusal(batch_size=batch_size, max_text_length=length)["msg"]
    assert f"batch_size {batch_size} with max_text_length {length}" in message
    # What it says is the largest that is allowed, and the broker takes that
    found = re.search(r"at most (\d+)", message)
    assert found
    largest = int(found[1])
    assert largest * (length + 14) <= MAX_BATCH_BYTES < (largest + 1) * (length + 14)
    assert Simulation(batch_size=largest, max_text_length=length).batch_size == largest
    assert f"at most {largest}" in refusal(batch_size=largest + 1, max_text_length=length)["msg"]


def test_small_runs_are_cut_finer_so_that_every_profile_gets_a_share() -> None:
    # Given profiles that can send 300 and 100 messages a second
    fast, slow = make.profile("fast", count=30), make.profile("slow", count=10)
    simulation = make.simulation(num_messages=100, senders=(fast, slow))
    # Then their shares of 100 messages, 75 and 25, make about eight batches each
    assert MIN_BATCHES_PER_PROFILE == 8
    assert [simulation.batch_size_for(profile) for profile in (fast, slow)] == [10, 4]


def test_profiles_that_take_no_time_share_a_run_among_themselves() -> None:
    endless = [make.profile(name, mean_time=0) for name in ("a", "b")]
    limited = [make.profile(name, count=1_000) for name in ("c", "d")]
    simulation = make.simulation(num_messages=800, senders=(*endless, *limited))
    # Half of the run each; the others, whose share can't be told, as if all were alike
    assert [simulation.batch_size_for(one) for one in endless] == [50, 50]
    assert [simulation.batch_size_for(one) for one in limited] == [25, 25]


def test_profile_that_takes_no_time_by_a_workers_command_line_could_have_the_whole_run() -> None:
    simulation = make.simulation(num_messages=800)
    endless = simulation.profile("fast").model_copy(update={"mean_time": 0.0})
    assert simulation.batch_size_for(endless) == 800 / MIN_BATCHES_PER_PROFILE


@pytest.mark.parametrize("messages", [1, 2, 1_000])
def test_every_profile_gets_batches_of_at_least_one(messages: int) -> None:
    senders = (
        make.profile("a", mean_time=0),
        make.profile("b"),
        make.profile("c", mean_time=86_400),
    )
    for some in (senders, senders[1:]):
        simulation = make.simulation(num_messages=messages, senders=some)
        assert all(simulation.batch_size_for(profile) >= 1 for profile in some)


def test_configured_batch_size_is_kept() -> None:
    simulation = Simulation(batch_size=7)
    assert [simulation.batch_size_for(profile) for profile in simulation.senders] == [7] * 3


# Thresholds


def test_a_threshold_is_a_check_or_a_mapping_with_one() -> None:
    thresholds = ["failed < 1%", {"check": "lost == 0", "abort": True}]
    found = Simulation(thresholds=thresholds).thresholds  # type: ignore[arg-type]
    assert [(one.check, one.abort) for one in found] == [
        ("failed < 1%", False),
        ("lost == 0", True),
    ]


def test_a_bad_check_is_refused_with_where_the_mistake_is() -> None:
    problem = refusal(thresholds=["failed < 1%", "p95 delivery < 30"])
    assert (problem["type"], problem["loc"]) == (BAD_CHECK, ("thresholds", 1, "check"))
    assert problem["msg"] == problem["ctx"]["what"] == "needs a unit; use ms, s, m or h"
    assert problem["ctx"]["pointed"].splitlines() == [
        "    p95 delivery < 30",
        "                     ^",
    ]


@pytest.mark.parametrize("word", ["d", "evacuation of the north", "x" * 64])
def test_a_run_can_be_called_what_can_be_printed(word: str) -> None:
    called = Simulation(name=word, tags={word: word})
    assert (called.name, called.tags) == (word, {word: word})


@pytest.mark.parametrize("word", ["", " ", "a\nb", "x" * 65])
@pytest.mark.parametrize("field", ["name", "tags"])
def test_what_can_not_be_printed_in_a_line_is_no_name(word: str, field: str) -> None:
    problem = refusal(**{field: word if field == "name" else {"a": word}})
    assert problem["loc"] == (field,)
    assert problem["msg"].endswith("must be 1 to 64 printable characters")


@pytest.mark.parametrize("change", [{"name": "drill"}, {"tags": {"a": "b"}}, {"seed": 3}])
def test_a_name_or_a_seed_changes_no_times(change: dict[str, Any]) -> None:
    planned = make.simulation()
    assert planned.takes_as_long_as(make.simulation(**change))
    assert make.simulation(**change).takes_as_long_as(planned)


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"num_messages": 3}, {"deadline": 3.0}])
def test_all_else_may_change_times(change: dict[str, Any]) -> None:
    assert not make.simulation().takes_as_long_as(make.simulation(name="drill", **change))
