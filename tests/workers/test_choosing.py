"""What a worker chooses by itself: its number format and its slots."""

from __future__ import annotations

import pytest

from workers.choosing import Dtype, dtype, slots

GIB = 2**30


@pytest.mark.parametrize(
    ("stored", "has_bf16", "is_gpu", "chosen"),
    [
        ("bf16", True, False, "bf16"),
        ("bf16", False, False, "fp32"),
        ("fp32", True, False, "fp32"),
        ("fp16", True, False, "fp32"),
        ("fp16", False, True, "fp16"),
        ("bf16", False, True, "bf16"),
        ("fp32", True, True, "fp32"),
    ],
)
def test_the_format_is_the_checkpoints_where_that_can_be_multiplied(
    stored: Dtype, chosen: str, *, has_bf16: bool, is_gpu: bool
) -> None:
    """Nothing is rounded that the checkpoint has."""
    choice = dtype(stored, has_bf16=has_bf16, is_gpu=is_gpu)
    assert (choice.value, choice.setting) == (chosen, "ECHO_DTYPE")
    assert choice.reason


def test_slots_are_as_many_as_the_model_allows_or_the_memory() -> None:
    """Up to 64; or half of what the weights leave."""
    assert slots(None, state_bytes=2**20, free_bytes=8 * GIB)[0] == 64
    few, choice = slots(None, state_bytes=GIB // 4, free_bytes=8 * GIB)
    assert few == 16
    assert choice is not None
    assert "16 states of 256" in choice.reason
    assert "8.0 GiB" in choice.reason


def test_slots_that_are_asked_for_are_granted_as_far_as_they_fit() -> None:
    """What is less is told with both numbers."""
    assert slots(100, state_bytes=2**20, free_bytes=8 * GIB) == (100, None)
    fit, choice = slots(100, state_bytes=GIB // 4, free_bytes=8 * GIB)
    assert fit == 16
    assert choice is not None
    assert choice.is_less
    assert str(choice).startswith("ECHO_SLOTS=16 (not 100: ")


def test_one_slot_is_there_always() -> None:
    assert slots(8, state_bytes=GIB, free_bytes=0)[0] == 1
    assert slots(None, state_bytes=GIB, free_bytes=-GIB)[0] == 1
