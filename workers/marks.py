"""Which beginnings of a prompt are worth a state, judged by what was asked for before. Knows no torch.

Whoever writes a prompt marks where turns or templates end. Between and after these there are strides, so that prompts
share what nobody has marked: a long document, a system prompt of somebody's own. States at all strides of all prompts
are too many: what is wanted again is where two prompts part, and where one ends (Marconi, arXiv 2411.19379). The other
strides are spare, and their ranks say what goes first when room is wanted: the least round.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cache.tier import Stamp

STRIDE_TOKENS = 512
"""Between two strides, counted from a prompt's first token; long prompts leave some out."""

MOST_STRIDES = 32
"""Of a prompt: longer ones have a stride of twice, four times … as many tokens. Each may cost a round trip."""

MOST_MARKS = 16
"""Of a prompt's marks, the last ones, that are looked up: each may cost a round trip, too."""

_ROUNDEST, _LAST = 5, 6
"""Ranks of spare states: that of a multiple of 32 strides, and that of a prompt's last stride."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first `tokens` of a prompt, and the key of the state after them."""

    tokens: int
    key: str
    rank: int | None = None
    """How often the number of its strides can be halved; None where it ends at no stride."""

    @property
    def spare_names(self) -> tuple[str, ...]:
        """What its state may be kept under, besides the key, while nobody has asked for it twice."""
        return () if self.rank is None else (f"{_LAST}:{self.key}", f"{self.rank}:{self.key}")


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a beginning whose state is to be kept, and under which name: the key, or one that says it is spare."""

    tokens: int
    key: str
    name: str
    stamp: Stamp = ()
    """The tags that the state goes with, as they were before it was computed."""

    @property
    def is_spare(self) -> bool:
        return self.name != self.key


class Asked:
    """The beginnings that were asked for lately, as many as there is room for. Threads may share it."""

    def __init__(self, room: int = 1 << 16) -> None:
        self._room = room
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def again(self, beginnings: Sequence[Beginning]) -> Beginning | None:
        """The longest of the beginnings that was asked for before; now all of them have been."""
        with self._lock:
            known = [beginning for beginning in beginnings if beginning.key in self._keys]
            for beginning in beginnings:
                self._keys[beginning.key] = None
                self._keys.move_to_end(beginning.key)
            while len(self._keys) > self._room:
                self._keys.popitem(last=False)
        return known[-1] if known else None


def strides(tokens: int, stride: int = STRIDE_TOKENS) -> range:
    """Where the strides of a prompt of so many tokens end: those of a longer one are among those of a shorter one."""
    step = stride
    while tokens // step > MOST_STRIDES:
        step *= 2
    return range(step, tokens + 1, step)


def roundness(end: int, stride: int = STRIDE_TOKENS) -> int | None:
    """How often the number of strides can be halved, up to five times; None where no stride ends."""
    count, rest = divmod(end, stride)
    return None if rest or not count else min(_ROUNDEST, (count & -count).bit_length() - 1)


def worth_keeping(
    beginnings: Sequence[Beginning], *, found: int, marked: int | None, again: Beginning | None
) -> list[Mark]:
    """What of a prompt to keep that goes on after its first `found` tokens, in order.

    Certain to be wanted are the last of its marks, and the longest beginning that was asked for `again`.
    """
    marks = []
    for beginning in beginnings:
        if beginning.tokens <= found:
            continue
        if beginning.tokens == marked or beginning is again:
            marks.append(Mark(beginning.tokens, beginning.key, beginning.key))
        elif beginning.rank is not None:
            marks.append(Mark(beginning.tokens, beginning.key, beginning.spare_names[beginning is not beginnings[-1]]))
    return marks
