"""What of the messages that wait is one worker's."""

from __future__ import annotations

import uuid

import redis
from records import a_worker

from echo_tasks import keys
from echo_tasks.registry import Registry
from workers.autoscaler import share


def test_what_waits_is_shared_among_those_who_consume_it(broker: redis.Redis) -> None:
    """Over all priorities, rounded up; what only one consumes, or nobody has announced to consume, is all its own."""
    shared, own = (f"echo.{uuid.uuid4().hex}" for _ in range(2))
    for queue in (shared, own):
        lists = keys.lists(queue)
        broker.rpush(lists[0], "a", "b")
        broker.rpush(lists[-1], "c", "d", "e")
    registry = Registry(broker)
    for queues in ([shared, own], [shared]):
        registry.announce(a_worker().model_copy(update={"queues": queues}))
    assert share(broker, [shared]) == 3
    assert share(broker, [shared, own]) == 3 + 5
    assert share(broker, []) == 0
    late = f"echo.{uuid.uuid4().hex}"
    broker.rpush(keys.lists(late)[3], "f")
    assert share(broker, [late]) == 1
