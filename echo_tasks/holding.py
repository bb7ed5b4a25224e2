"""What a worker has taken from the broker and not acknowledged; and when such messages go to others."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from kombu.transport import redis

INDEX = redis.Channel.unacked_index_key
"""Sorted set, kombu's: delivery tags of the messages that workers hold, by when they took or renewed them."""

HELD = redis.Channel.unacked_key
"""Hash, kombu's: those messages by their tags."""


def renewal_s(visibility_s: float) -> float:
    """How often a worker renews what it holds: two renewals may fail before the message is overdue."""
    return visibility_s / 3


class QoS(redis.QoS):
    """The messages that a channel has delivered and that are not acknowledged; and the sweep for overdue ones.

    A sweep takes messages from workers that have not renewed them. So it must not follow upon a time in which nobody
    could: the broker was away, or did not answer, or this process was stopped and its own messages are overdue. After
    such a time, which shows in sweeps that come late or on a new connection, everybody has a renewal's time first.
    """

    taken: ClassVar[int] = 0
    """Messages that this process has taken, over all its channels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._renewal_s = renewal_s(self.channel.visibility_timeout)
        self._steady_since = self._swept_at = time.monotonic()

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that has been taken, once more over another connection if the first one fails.

        It is off its queue already: a fault here would lose it.
        """
        try:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]
        except self.channel.connection_errors:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]
        QoS.taken += 1

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Sweep, unless others may not have had the time to renew."""
        now = time.monotonic()
        if now - self._swept_at > self._renewal_s:
            self._steady_since = now
        self._swept_at = now  # before the sweep: one that hangs makes the next one late
        if now - self._steady_since >= self._renewal_s:
            super().restore_visible(start, num, interval)  # type: ignore[no-untyped-call]
