"""What a worker chooses by itself where no setting says otherwise, each choice with its reason: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echo_tasks.machine import GIB

Dtype = Literal["fp32", "bf16", "fp16"]

MOST_SLOTS = 64
"""A step of more rows is hardly faster a row, and takes each of them longer."""

STATES_SHARE = 0.5
"""Of the memory that the weights leave, for the states of slots."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting, the value chosen for it, and why; `is_less`: the setting asked for more."""

    setting: str
    value: str
    reason: str
    is_less: bool = False

    def __str__(self) -> str:
        return f"{self.setting}={self.value} ({self.reason})"


def dtype(stored: Dtype, *, has_bf16: bool, is_gpu: bool) -> Choice:
    """The number format of the weights: the checkpoint's own where the processor multiplies it, else fp32."""
    if stored == "fp32":
        return Choice("ECHO_DTYPE", "fp32", "the checkpoint's own")
    if is_gpu or (stored == "bf16" and has_bf16):
        return Choice("ECHO_DTYPE", stored, "the checkpoint's own, which this processor multiplies")
    return Choice("ECHO_DTYPE", "fp32", f"without loss, since this processor does not multiply {stored}")


def slots(asked: int | None, *, state_bytes: int, free_bytes: int) -> tuple[int, Choice | None]:
    """How many slots there are, by what is asked for and what their states may take; no choice where all is granted."""
    fit = max(1, int(STATES_SHARE * max(0, free_bytes)) // state_bytes)
    told = f"{fit} states of {state_bytes / 2**20:.1f} MiB fit into half of {free_bytes / GIB:.1f} GiB"
    if asked is None:
        most = min(MOST_SLOTS, fit)
        return most, Choice("ECHO_SLOTS", f"up to {most}", "with the load" if fit > most else told)
    if asked <= fit:
        return asked, None
    return fit, Choice("ECHO_SLOTS", str(fit), f"not {asked}: {told}", is_less=True)
