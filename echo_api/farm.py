"""The farm as the API sees it: the parts that its routes translate to and from."""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis
from flask import current_app

from cache.memory import MemoryTier
from cache.shared import SharedTier
from cache.tiered import TieredCache
from echo_api.answers import Answers
from echo_api.intake import Intake
from echo_api.wakeups import Wakeups
from echo_tasks import connections
from echo_tasks.dispatch import Publisher
from echo_tasks.events import Events
from echo_tasks.ledger import Ledger
from echo_tasks.memories import Memories
from echo_tasks.registry import Registry
from echo_tasks.sessions import SessionBounds, Sessions
from echo_tasks.settings import Settings

L1_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Farm:
    """Connections are made on first use, so that the API starts, and recovers, without its servers.

    `began` is when this process connected it, by `time.monotonic`.
    """

    settings: Settings
    began: float
    broker: redis.Redis
    store: redis.Redis
    ledger: Ledger
    sessions: Sessions
    memories: Memories
    events: Events
    registry: Registry
    intake: Intake
    wakeups: Wakeups

    @classmethod
    def connect(cls, settings: Settings) -> Farm:
        """The farm that the settings name."""
        broker = connections.impatient(settings.broker)
        retention_s, session_s = settings.job_retention_s, 60 * settings.session_timeout_minutes
        bounds = SessionBounds.of(settings)
        ledger = Ledger(broker, retention_s=retention_s, session_s=session_s, bounds=bounds)
        registry = Registry(broker)
        cache = TieredCache(
            [
                MemoryTier(L1_BYTES, settings.eviction_policy),
                SharedTier(connections.hasty(settings.store), compress=settings.enable_compression),
            ]
        )
        return cls(
            settings=settings,
            began=time.monotonic(),
            broker=broker,
            store=connections.impatient(settings.store),
            ledger=ledger,
            sessions=Sessions(broker, retention_s=retention_s, session_s=session_s, bounds=bounds),
            memories=Memories(broker),
            events=Events(broker),
            registry=registry,
            intake=Intake(
                ledger, Publisher(settings.broker), Answers(cache, registry) if settings.enable_caching else None
            ),
            wakeups=Wakeups(settings.broker),
        )

    def delete_session(self, session_id: str) -> None:
        """Delete a session and all that is kept of it. Raises SessionNotFound."""
        self.sessions.delete(session_id)
        self.invalidate_states(session_id)

    def invalidate_states(self, session_id: str) -> None:
        """Where the cached states that are tagged `session:<id>` go, once states have tags; they expire until then."""


def farm() -> Farm:
    """The farm of the application that serves this request."""
    return current_app.extensions["farm"]  # type: ignore[no-any-return]
