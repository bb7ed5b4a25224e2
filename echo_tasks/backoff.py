"""How long a step that failed waits until it is tried again."""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 30.0


def delay_s(faults: int, chance: float, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> float:
    """The pause after so many faults before this one: doubled each time, capped, and up to half of it off by chance.

    `chance` is from 0 to 1; it keeps steps that failed together from coming back together.
    """
    whole_s = min(longest_s, first_s * 2.0 ** min(faults, 64))
    return whole_s * (1 - chance / 2)
