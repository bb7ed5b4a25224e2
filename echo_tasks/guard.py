"""A process's look at the schema of the broker's keys: at its start, or as soon as the broker answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import redis

from echo_tasks import logs, schema
from echo_tasks.errors import EX_CONFIG, BrokerUnavailable, SchemaTooNew, exit_misconfigured

RETRY_S = 0.5

log = logs.get(__name__)


def check(client: redis.Redis) -> bool:
    """Whether the broker's keys are this release's to use; false while nobody knows, since the broker is away.

    Where they are not, it ends the process with one line and EX_CONFIG. Blocks for two seconds at most, or while
    another process migrates.
    """
    try:
        found = schema.bring_up(client)
    except BrokerUnavailable:
        return False
    except SchemaTooNew as error:
        exit_misconfigured(error)
    log.info("schema is known", schema=found.number, reads=schema.LATEST)
    return True


def watch(client: redis.Redis, end: Callable[[int], object] = os._exit) -> None:
    """Look from a thread until the broker has answered; `end` gets the exit status of a process that must not go on.

    The default ends it there and then: it has done nothing yet that would have to be finished.
    """
    threading.Thread(target=_until_known, args=(client, end), name="schema", daemon=True).start()


def _until_known(client: redis.Redis, end: Callable[[int], object]) -> None:
    is_known = False
    while not is_known:
        time.sleep(RETRY_S)
        try:
            is_known = check(client)
        except SystemExit:
            end(EX_CONFIG)
            return
