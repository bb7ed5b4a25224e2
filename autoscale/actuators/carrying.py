"""How many workers a machine carries: by its cores, and by what its workers take of its memory. A pure function."""

from __future__ import annotations

from collections.abc import Sequence

from autoscale.observation import Instance, Room
from echo_tasks.machine import GIB, Memory


def room(cores: int, memory: Memory, workers: Sequence[Instance], starting: int, threads: int = 1) -> Room:
    """The room of a machine on which these workers live and so many start; `threads` are those of one where none lives.

    Workers are alike: each counts with the threads and the memory of the one that needs most. Each may grow to what it
    holds under a full load, which is kept for it. What starts is there already: it is not told to go for want of memory
    while nobody knows what it takes.
    """
    threads = max((worker.threads for worker in workers), default=threads)
    by_cores = max(1, cores // threads)
    bound = Room(by_cores, f"{by_cores * threads} of {cores} cores")
    need = max((max(worker.memory_most_bytes, worker.memory_bytes) for worker in workers), default=0)
    if not need:
        return bound
    growth = sum(max(0, worker.memory_most_bytes - worker.memory_bytes) for worker in workers)
    by_memory = len(workers) + (memory.free - growth) // need
    by_memory = max(by_memory, len(workers) + starting if starting else 1)
    if by_memory >= by_cores:
        return bound
    return Room(by_memory, f"{by_memory * need / GIB:.1f} of {memory.total / GIB:.1f} GiB")
