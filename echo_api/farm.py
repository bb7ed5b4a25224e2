"""The farm as the API sees it: the parts that its routes translate to and from."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from flask import current_app

from cache.memory import MemoryTier
from cache.shared import SharedTier
from cache.tiered import TieredCache
from echo_api.answers import Answers
from echo_api.intake import Intake
from echo_api.offers import Offers
from echo_api.wakeups import Wakeups
from echo_tasks import connections
from echo_tasks.dispatch import Publisher
from echo_tasks.events import Events
from echo_tasks.ledger import Ledger
from echo_tasks.registry import Registry
from echo_tasks.settings import Settings

L1_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Farm:
    """Connections are made on first use, so that the API starts, and recovers, without its servers."""

    settings: Settings
    broker: redis.Redis
    store: redis.Redis
    ledger: Ledger
    events: Events
    registry: Registry
    intake: Intake
    offers: Offers
    wakeups: Wakeups

    @classmethod
    def connect(cls, settings: Settings) -> Farm:
        """The farm that the settings name."""
        broker = connections.impatient(settings.broker)
        ledger = Ledger(broker, retention_s=settings.job_retention_s, session_s=60 * settings.session_timeout_minutes)
        registry = Registry(broker)
        cache = TieredCache(
            [
                MemoryTier(L1_BYTES, settings.eviction_policy),
                SharedTier(connections.hasty(settings.store), compress=settings.enable_compression),
            ]
        )
        return cls(
            settings=settings,
            broker=broker,
            store=connections.impatient(settings.store),
            ledger=ledger,
            events=Events(broker),
            registry=registry,
            intake=Intake(
                ledger, Publisher(settings.broker), Answers(cache, registry) if settings.enable_caching else None
            ),
            offers=Offers(registry),
            wakeups=Wakeups(settings.broker),
        )


def farm() -> Farm:
    """The farm of the application that serves this request."""
    return current_app.extensions["farm"]  # type: ignore[no-any-return]
