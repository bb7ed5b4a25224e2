"""Broker and store, by their own word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import redis
from prometheus_client.metrics_core import Metric
from redis.exceptions import RedisError

from echo_tasks import logs
from echo_tasks.telemetry import farm
from monitoring.exporter.families import counters, gauges

_TOLD = {
    farm.SERVER_MEMORY: "used_memory",
    farm.SERVER_MEMORY_LIMIT: "maxmemory",
    farm.SERVER_CLIENTS: "connected_clients",
    farm.SERVER_CLIENTS_LIMIT: "maxclients",
}

log = logs.get(__name__)


class Servers:
    """Asks servers, by name, how they are. A server that is away is down, and that is all there is to say of it."""

    def __init__(self, clients: Mapping[str, redis.Redis]) -> None:
        self._clients = clients
        self._away: set[str] = set()

    def look(self) -> dict[str, Mapping[str, Any]]:
        """What each says; empty for one that is away. Blocks for some two seconds for each of those."""
        return {name: self._ask(name, client) for name, client in self._clients.items()}

    def _ask(self, name: str, client: redis.Redis) -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = client.info()
        except (RedisError, OSError) as error:
            if name not in self._away:  # once an outage
                log.warning("server is away", server=name, error=str(error))
            self._away.add(name)
            return {}
        self._away.discard(name)
        return told


def families(told: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """The metrics of what the servers have said."""
    yield gauges(farm.SERVER_UP, "server", {name: bool(info) for name, info in told.items()})
    for declared, field in _TOLD.items():
        yield gauges(declared, "server", _numbers(told, field))
    yield counters(farm.SERVER_EVICTED, "server", _numbers(told, "evicted_keys"))


def _numbers(told: Mapping[str, Mapping[str, Any]], field: str) -> dict[str, float]:
    return {name: float(info[field]) for name, info in told.items() if field in info}
