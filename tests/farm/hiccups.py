"""A worker whose engine fails, in a way that may pass, the first time it is asked anything that says `hiccup`.

`celery -A echo_tasks worker -I tests.farm.hiccups`.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from echo_tasks.errors import EngineFaulted
from workers.engine import Engine

_submit = Engine.submit
_asked: set[str] = set()


def submit(self: Engine, request: Any) -> Any:
    """Fail once for each prompt that is to."""
    if "hiccup" not in request.prompt or request.prompt in _asked:
        return _submit(self, request)
    _asked.add(request.prompt)
    failed: Future[Any] = Future()
    failed.set_exception(EngineFaulted("it hiccups"))
    return failed


Engine.submit = submit  # type: ignore[method-assign]
