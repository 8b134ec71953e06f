"""A file of recipients, checked before a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.recipients import Contents
from sms_pipeline.producer import table
from sms_pipeline.producer.recipients import examined
from tests.unit import make
from tests.unit.producer import people


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 7)
    monkeypatch.setattr(table, "BLOCK", 140)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return people.write(tmp_path / "people.csv")


def refusal(path: Path, **values: object) -> str:
    with pytest.raises(ConfigError) as refused:
        people.checked(path, **values)
    message = str(refused.value)
    assert "\n" not in message
    assert "555" not in message
    return message.replace(str(path), path.name)


def test_a_run_without_recipients_is_as_it_was() -> None:
    asked = make.simulation()
    assert examined(asked, only_first=True) is asked


def test_what_was_found_is_kept(file: Path) -> None:
    found = people.checked(file)
    assert (found.num_messages, found.messages_from) == (100, "recipients")
    assert found.recipients
    assert found.recipients.file == str(file)
    assert found.recipients.contents == Contents(
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        rows=100,
        columns=("to", "zone"),
        parts=100,
        message_bytes=len("+12025550000") + len("Evacuate north now.") + 2,
    )


def test_another_file_than_was_asked_for_is_refused(file: Path) -> None:
    given = {"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert people.checked(file, recipients=given).num_messages == 100
    people.write(file, 101)
    assert refusal(file, recipients=given) == (
        "people.csv: is not the file that was asked for: its SHA-256 differs"
    )


def test_the_path_is_kept_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    found = people.checked(Path("people.csv")).recipients
    assert found
    assert found.file == str(file)


def test_only_the_first_rows_where_a_number_is_given(file: Path) -> None:
    found = people.checked(file, num_messages=9, text="{zone}" * 40)
    assert found.num_messages == 9
    assert found.recipients
    assert found.recipients.contents
    # 200 characters are two parts, 160 are one: those to the east.
    assert (found.recipients.contents.rows, found.recipients.contents.parts) == (100, 15)


def test_more_than_there_are_is_refused(file: Path) -> None:
    assert refusal(file, num_messages=101) == (
        "people.csv: has 100 rows, but num_messages asks for 101"
    )
    people.write(file, 1)
    assert refusal(file, num_messages=2) == "people.csv: has 1 row, but num_messages asks for 2"


def test_long_texts_make_smaller_batches(file: Path) -> None:
    short, long = people.checked(file), people.checked(file, text="{zone}" * 300)
    profile = make.profile(count=1_000_000)
    many = {"num_messages": 10**9, "senders": (profile,)}
    sizes = [one.model_copy(update=many).batch_size_for(profile) for one in (short, long)]
    assert sizes[0] > 10 * sizes[1]


@pytest.mark.parametrize(
    ("content", "values", "says"),
    [
        ("to,zone\n", {}, "people.csv: has no rows after its header"),
        (
            "to,zone\n" + "2025550100,a\n" * 9 + "call me,b\n",
            {},
            "people.csv: line 11: column 'to' has no phone number in it; 'sms-pipeline "
            "recipients' makes a clean file",
        ),
        ("to,zone\n,a\n", {}, "people.csv: line 2: column 'to' has no phone number"),
        ("to,zone\n2025550100,a\n", {"text": "{name}"}, "people.csv: has no column 'name'"),
        (
            "to,zone\n2025550100,a\n",
            {"recipients": {"file": "people.csv", "column": "mobile"}},
            "people.csv: has no column 'mobile'; its header has 'to', 'zone'",
        ),
        ("to,zone\n2025550100,\n", {"text": "{zone}"}, "people.csv: line 2: the text is empty"),
        (
            "to,zone\n2025550100,a\n2025550100," + "x" * 1_531 + "\n",
            {"text": "{zone}"},
            "people.csv: line 3: the text has 1531 characters, more than the 1530 allowed",
        ),
    ],
)
def test_a_bad_row_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    values: dict[str, object],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "people.csv"
    path.write_text(content)
    assert refusal(path, **values).startswith(says)


def test_how_far_it_is(file: Path) -> None:
    told = list[int]()
    examined(people.simulation(file), only_first=False, tell=told.append)
    assert told == sorted(told)
    assert told[0] <= 10
    assert told[-1] == 100


def test_a_file_that_changes_meanwhile_is_refused(file: Path) -> None:
    def change(_: int) -> None:
        file.write_text(people.csv_text(101))

    with pytest.raises(ConfigError, match="was changed while it was checked; try again"):
        examined(people.simulation(file), only_first=False, tell=change)
