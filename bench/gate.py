"""What a key costs a request: the same route of one API, by turns without a key and with one."""

from __future__ import annotations

import argparse
import http.client
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import machine, site
from echo_tasks import connections
from echo_tasks.access.keyring import Keyring, Request

_ROUTE = "/api/cognitive/sessions"


def main(argv: Sequence[str]) -> None:
    """Print the time of a request, and of one with a key, over rounds by turns."""
    parser = argparse.ArgumentParser(prog="python -m bench gate")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=300, help="of each kind in each round")
    chosen = parser.parse_args(argv)
    with (
        TemporaryDirectory() as folder,
        site.farm(Path(folder), {"REQUESTS_PER_MINUTE": "10000000"}) as farm,
        connections.impatient(farm.broker_url) as broker,
    ):
        key = Keyring(broker).make(Request("bench", ("read",)))
        kinds = {"without a key": {}, "with a key": {"Authorization": f"Bearer {key}"}}
        took_ms: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(chosen.rounds):
            for kind, headers in kinds.items():
                took_ms[kind].append(_mean_ms(farm.api_port, headers, chosen.requests))
    print(f"{machine.described()}; GET {_ROUTE}, one client on one connection, {chosen.requests} requests a round")
    for kind, rounds in took_ms.items():
        print(f"{kind:14} {statistics.median(rounds):6.2f} ms ({min(rounds):.2f} to {max(rounds):.2f})")
    pairs = zip(*took_ms.values(), strict=True)
    print(f"{'the key':14} {statistics.median(dear - cheap for cheap, dear in pairs):6.2f} ms, median of the pairs")


def _mean_ms(port: int, headers: Mapping[str, str], requests: int) -> float:
    """Mean milliseconds of a request. Blocks."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        began = time.perf_counter()
        for _ in range(requests):
            connection.request("GET", _ROUTE, headers=dict(headers))
            reply = connection.getresponse()
            reply.read()
            if reply.status != 200:
                raise RuntimeError(f"GET {_ROUTE}: {reply.status}")
        return 1000 * (time.perf_counter() - began) / requests
