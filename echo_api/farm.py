"""The farm as the API sees it: the parts that its routes translate to and from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from flask import current_app
from prometheus_client import CollectorRegistry

from cache.assembly import MIB, Assembly
from cache.collector import CacheCollector
from cache.memory import MemoryTier
from cache.tiered import TieredCache
from echo_api.disk import off_the_loop
from echo_api.intake import Intake
from echo_api.response_time import ResponseTime
from echo_api.values import Values
from echo_api.wakeups import Wakeups
from echo_api.workforce import Workforce
from echo_tasks import connections, guard, keys, router
from echo_tasks.access.keyring import Keyring
from echo_tasks.answers import Answers
from echo_tasks.backlog import BacklogBounds
from echo_tasks.dispatch import Dispatcher
from echo_tasks.events import Events
from echo_tasks.ledger import Ledger
from echo_tasks.letters import DeadLetters
from echo_tasks.memories import Memories
from echo_tasks.publishing import Publisher
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling
from echo_tasks.sessions import SessionBounds, Sessions
from echo_tasks.settings import Settings

MEMORY_BYTES = 32 * MIB
"""Of the API's own memory for what is cached."""


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
    letters: DeadLetters
    events: Events
    registry: Registry
    keyring: Keyring
    scaling: Scaling
    intake: Intake
    workforce: Workforce
    wakeups: Wakeups
    values: Values
    cache: TieredCache
    assembly: Assembly
    metrics: CollectorRegistry
    response_time: ResponseTime

    @classmethod
    def connect(cls, settings: Settings) -> Farm:
        """The farm that the settings name."""
        broker = connections.impatient(settings.broker)
        retention_s, session_s = settings.job_retention_s, 60 * settings.session_timeout_minutes
        bounds = SessionBounds.of(settings)
        ledger = Ledger(
            broker, retention_s=retention_s, session_s=session_s, bounds=bounds, backlog=BacklogBounds.of(settings)
        )
        sessions = Sessions(broker, retention_s=retention_s, session_s=session_s, bounds=bounds)
        registry = Registry(broker)
        publisher = Publisher(settings.broker, router=router.by_strategy(broker, settings.lb_strategy))
        assembly = Assembly(
            policy=settings.eviction_policy,
            store=connections.hasty(settings.store),
            steady=broker,
            folder=settings.disk_cache,
            disk_mb=settings.disk_cache_mb,
            sweep_every_s=settings.cleanup_interval,
            run_on_disk=off_the_loop,
        )
        memory = MemoryTier(MEMORY_BYTES, settings.eviction_policy)
        cache = assembly.cache(memory, compress=settings.enable_compression)
        workforce = Workforce(registry)
        answers = Answers(cache, workforce.answers_id, settings.cache_ttl_seconds)
        dispatcher = Dispatcher(ledger, publisher, answers if settings.enable_caching else None)
        metrics = CollectorRegistry()
        response_time = ResponseTime()
        metrics.register(CacheCollector(assembly.statistics, requests_as="deep_echo_cache_requests"))
        metrics.register(response_time)
        return cls(
            settings=settings,
            began=time.monotonic(),
            broker=broker,
            store=connections.impatient(settings.store),
            ledger=ledger,
            sessions=sessions,
            memories=Memories(broker),
            letters=DeadLetters(broker, ledger, dispatcher),
            events=Events(broker),
            registry=registry,
            keyring=Keyring(broker),
            scaling=Scaling(broker),
            intake=Intake(ledger, publisher, dispatcher),
            workforce=workforce,
            wakeups=Wakeups(settings.broker),
            values=Values(cache, assembly.tags),
            cache=cache,
            assembly=assembly,
            metrics=metrics,
            response_time=response_time,
        )

    def start(self, end: Callable[[int], object]) -> None:
        """Start what runs beside the requests; for the process that serves.

        `end` is called should the broker's keys turn out to be a newer release's.
        """
        self.assembly.start()
        guard.watch(self.broker, end)

    def delete_session(self, session_id: str) -> None:
        """Delete a session and all that is kept of it; its open jobs are cancelled. Raises SessionNotFound."""
        for job_id in self.sessions.delete(session_id):
            self.intake.settle(job_id)
        self.assembly.tags.renew([keys.session_tag(session_id)])


def farm() -> Farm:
    """The farm of the application that serves this request."""
    return current_app.extensions["farm"]  # type: ignore[no-any-return]
