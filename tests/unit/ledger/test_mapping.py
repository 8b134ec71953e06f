"""Rows of settlements: what is added up before it is written."""

from __future__ import annotations

from sms_pipeline.core.failover import HandOver
from sms_pipeline.ledger.mapping import delivery_time_sums, hand_over_sums
from tests.unit import make


def test_delivery_times_of_a_group_are_one_row_a_bucket() -> None:
    group = [
        make.settlement(1, 0, delivery_times={5: 2, 3: 1}),
        make.settlement(1, 1, delivery_times={5: 4}),
        make.settlement(1, 2, delivery_times={5: 1}, worker="w2"),
    ]
    assert delivery_time_sums(group) == [
        {"run": 1, "profile": "fast", "worker": "w1", "bucket": 3, "messages": 1},
        {"run": 1, "profile": "fast", "worker": "w1", "bucket": 5, "messages": 6},
        {"run": 1, "profile": "fast", "worker": "w2", "bucket": 5, "messages": 1},
    ]


def test_hand_overs_of_a_group_are_one_row_a_way() -> None:
    away, back = HandOver("fast", "slow", 3, 1), HandOver("slow", "fast", 2)
    group = [
        make.settlement(4, 0, handed_over=(away, back)),
        make.settlement(4, 1, handed_over=(HandOver("fast", "slow", 5, 5),)),
        make.settlement(4, 2),
    ]
    fast_to_slow = {"run": 4, "source": "fast", "target": "slow", "worker": "w1"}
    slow_to_fast = {"run": 4, "source": "slow", "target": "fast", "worker": "w1"}
    assert hand_over_sums(group) == [
        {**fast_to_slow, "messages": 8, "untried": 6},
        {**slow_to_fast, "messages": 2, "untried": 0},
    ]
