"""From tokens' bytes to text for a client: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Detokenizer:
    """One sequence's output. Bytes that may be the start of a stop string, or half a character, wait."""

    def __init__(self, stop: Sequence[bytes]) -> None:
        self._stop = tuple(stop)
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.stopped = False
        self.certain_bytes = 0
        """How many of the bytes so far are text for sure: all before a stop string, or what may become one."""

    def push(self, token: bytes) -> str:
        """Take one token's bytes; the text that is certain now. Sets `stopped` once a stop string is whole."""
        self._held += token
        found = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            _, start = min(found)  # the one that was whole first, so that it is no matter how the bytes came
            text, self._held = self._held[:start], b""
            self.certain_bytes += len(text)
            return self._decoder.decode(text, final=True)
        certain = len(self._held) - self._possible_start()
        text, self._held = self._held[:certain], self._held[certain:]
        self.certain_bytes += len(text)
        return self._decoder.decode(text)

    def flush(self) -> str:
        """The text still held back, when the sequence ended without a stop string."""
        text, self._held = self._held, b""
        self.certain_bytes += len(text)
        return self._decoder.decode(text, final=True)

    def _possible_start(self) -> int:
        """Length of the longest end of what is held that some stop string begins with."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0
