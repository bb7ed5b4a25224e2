"""Waiting for the disk in a process of greenlets: on threads of the system, so that nobody else waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gevent
from gevent import monkey

P = ParamSpec("P")
T = TypeVar("T")


def off_the_loop(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the call answers, made on one of gevent's own threads; made here where threads are the system's anyway."""
    if not monkey.is_module_patched("threading"):
        return call(*args, **kwargs)
    return gevent.get_hub().threadpool.apply(call, args, kwargs)  # type: ignore[no-any-return]
