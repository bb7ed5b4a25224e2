"""The farm as the API sees it: the parts that its routes translate to and from."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from flask import current_app

from echo_api.intake import Intake
from echo_api.wakeups import Wakeups
from echo_tasks import connections
from echo_tasks.events import Events
from echo_tasks.ledger import Ledger
from echo_tasks.registry import Registry
from echo_tasks.settings import Settings


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
    wakeups: Wakeups

    @classmethod
    def connect(cls, settings: Settings) -> Farm:
        """The farm that the settings name."""
        broker = connections.impatient(settings.broker)
        ledger = Ledger(broker, retention_s=settings.job_retention_s)
        return cls(
            settings=settings,
            broker=broker,
            store=connections.impatient(settings.store),
            ledger=ledger,
            events=Events(broker),
            registry=Registry(broker),
            intake=Intake(ledger),
            wakeups=Wakeups(settings.broker),
        )


def farm() -> Farm:
    """The farm of the application that serves this request."""
    return current_app.extensions["farm"]  # type: ignore[no-any-return]
