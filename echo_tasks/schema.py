"""How the ledger's keys are laid out: a number in the broker, and what brings it up to this release's.

A release of a higher schema migrates; one of a lower schema goes on only where the higher one says that it may
(`compatible_from`), which is what makes a rollback possible. A broker without a number is of schema 0: release 0.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis
from redis.exceptions import LockError

from echo_tasks import keys, logs
from echo_tasks.connections import broker_faults
from echo_tasks.errors import BrokerUnavailable, SchemaTooNew
from echo_tasks.scripts import script

LOCK_S = 60
"""How long others wait for whoever migrates, and after which he is taken for dead."""

log = logs.get(__name__)


class Schema(NamedTuple):
    """What a broker says: the schema of its keys, and the oldest one whose releases can use them."""

    number: int
    compatible_from: int


@dataclass(frozen=True, slots=True)
class Migration:
    """The step from the schema before to `number`.

    `apply` is one script or transaction, and does nothing when it is repeated. Releases of the schemas from
    `compatible_from` on read and write the keys rightly afterwards.
    """

    number: int
    compatible_from: int
    apply: Callable[[redis.Redis], None]


def _only_the_number(client: redis.Redis) -> None:
    """Schema 1 is what 0.1.0 has, with its number written down."""


MIGRATIONS: Sequence[Migration] = (Migration(1, compatible_from=0, apply=_only_the_number),)
"""In their order; the last one is this release's schema."""

LATEST = MIGRATIONS[-1].number


def stored(client: redis.Redis) -> Schema:
    """What the broker says now. Raises BrokerUnavailable."""
    with broker_faults():
        number, compatible_from = client.hmget(keys.SCHEMA, "number", "compatible_from")
    return Schema(int(number or 0), int(compatible_from or 0))


def bring_up(client: redis.Redis, migrations: Sequence[Migration] = MIGRATIONS) -> Schema:
    """Have the broker's keys be of this release's schema, or of a later one that it can use.

    Blocks while another process migrates. Raises SchemaTooNew and BrokerUnavailable.
    """
    latest = migrations[-1].number
    if (found := stored(client)).number < latest:
        found = _migrate(client, migrations)
    if found.compatible_from > latest:
        raise SchemaTooNew(found.number, found.compatible_from, latest)
    return found


def _migrate(client: redis.Redis, migrations: Sequence[Migration]) -> Schema:
    """One process at a time; should it be taken for dead and live, what it repeats does nothing."""
    step = script(client, "schema")
    try:
        with broker_faults(), client.lock(keys.SCHEMA_LOCK, timeout=LOCK_S, blocking_timeout=LOCK_S):
            for migration in migrations:
                if migration.number > stored(client).number:
                    migration.apply(client)
                    step(keys=[keys.SCHEMA], args=[migration.number, migration.compatible_from])
                    log.info("keys are migrated", schema=migration.number)
    except LockError as error:  # somebody else is at it, or it took longer than anybody waits
        raise BrokerUnavailable(f"keys are not migrated yet: {error}", reason="busy") from error
    return stored(client)
