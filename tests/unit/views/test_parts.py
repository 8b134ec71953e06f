"""The parts that a run has sent, as people and programs see them."""

from __future__ import annotations

import pytest

from sms_pipeline.core.simulation import Simulation
from sms_pipeline.views.parts import parts_json, parts_lines
from tests.unit import make
from tests.unit.views import runs


@pytest.mark.parametrize(
    ("simulation", "line", "json"),
    [
        (
            make.simulation(),
            ["Parts: 100 in all attempts, 1 a message."],
            {"parts_per_message": 1.0, "parts_sent": 100},
        ),
        # The three texts of a run of three take one part, two and two.
        (
            make.simulation(num_messages=3, max_text_length=300),
            ["Parts: about 167 in all attempts, 1.67 a message."],
            {"parts_per_message": pytest.approx(5 / 3), "parts_sent": 167},
        ),
        (
            make.simulation(messages_from="caller"),
            [],
            {"parts_per_message": None, "parts_sent": None},
        ),
    ],
)
def test_parts_of_a_hundred_attempts(
    simulation: Simulation, line: list[str], json: dict[str, object]
) -> None:
    progress = runs.progress(simulation=simulation)
    assert list(parts_lines(progress)) == line
    assert parts_json(progress) == json
