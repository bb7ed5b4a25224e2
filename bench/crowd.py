"""A closed crowd of clients: each asks again as soon as it is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

Ask = Callable[[int], int]
"""Does the n-th job and gives the tokens that were generated for it; called from many threads."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a load from the first question to the last answer: tokens a second, and each job's own time."""

    tokens_per_s: float
    job_s: tuple[float, ...] = ()
    seconds: float = 0.0


def closed(clients: int, rounds: int, ask: Ask) -> Measured:
    """So many clients, each with so many jobs one after the other. Raises what `ask` raises."""
    start = threading.Barrier(clients + 1)

    def client(number: int) -> list[tuple[int, float]]:
        start.wait()
        done = []
        for job in range(number, clients * rounds, clients):
            asked = time.monotonic()
            done.append((ask(job), time.monotonic() - asked))
        return done

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(client, number) for number in range(clients)]
        start.wait()
        started = time.monotonic()
        jobs = [job for client_of in asking for job in client_of.result()]
    seconds = time.monotonic() - started
    return Measured(sum(tokens for tokens, _ in jobs) / seconds, tuple(took for _, took in jobs), seconds)
