"""`python -m echo_api.preflight`: whether the API may start as things are; if not, one line and status 78.

A program of its own: what speaks with the broker must not be imported in gunicorn's master, before gevent has patched
what that imports. While the broker is away nobody can tell; the API starts then, and lets nobody in without a key.
"""

from __future__ import annotations

import time

import redis

from echo_tasks import connections, guard, logs
from echo_tasks.access import exposure
from echo_tasks.access.keyring import Keyring
from echo_tasks.errors import AccessUnset, BrokerUnavailable, exit_misconfigured
from echo_tasks.settings import current

PATIENCE_S = 5.0
"""With a broker that is starting, too."""


def main() -> None:
    """End with EX_CONFIG where the broker's keys are a newer release's, or where nobody could use the API."""
    settings = current()
    logs.configure()
    with connections.impatient(settings.broker) as broker:
        guard.check(broker)
        if exposure.wants_a_key_first(settings) and _has_no_keys(broker):
            exit_misconfigured(AccessUnset(settings.api_host))


def _has_no_keys(broker: redis.Redis) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return not Keyring(broker).all()
        except BrokerUnavailable:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)


if __name__ == "__main__":
    main()
