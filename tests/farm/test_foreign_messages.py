"""Messages written by hand into the farm's queues: dropped with a line each, whatever is wrong with them."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Site, until

from echo_tasks import envelopes, holding, keys
from echo_tasks.registry import Registry

pytestmark = pytest.mark.farm

QUEUE = keys.queue("memory")
NOBODY = "0" * 32


class Harmful:
    """What unpickles to a command."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (self._mark,)  # type: ignore[return-value]


def body(*arguments: Any) -> str:
    """A body as messages carry it."""
    return base64.b64encode(json.dumps(arguments).encode()).decode()


PARTS = ("headers", "properties", "body", "content-type")
EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def message(*, headers: dict[str, Any] | None = None, properties: dict[str, Any] | None = None, **whole: Any) -> Any:
    """A message of ours for a job that there is not, with something of it changed; `...` takes a field out."""
    own = {"lang": "py", "task": "echo.memory", "id": uuid.uuid4().hex, "argsrepr": "()", "kwargsrepr": "{}"}
    own |= {"eta": None, "expires": None, "retries": 0, "timelimit": [None, None], "group": None, "stamps": {}}
    information = {"exchange": "echo", "routing_key": QUEUE}
    told = {"delivery_tag": str(uuid.uuid4()), "delivery_info": information, "body_encoding": "base64", "priority": 0}
    made = {
        "body": body([NOBODY], {}, EMBEDDED),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": _without(own | (headers or {})),
        "properties": _without(told | (properties or {})),
    }
    return _without(made | {name.replace("_", "-"): value for name, value in whole.items()})


def _without(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ...}


def wrong(mark: Path) -> dict[str, Any]:
    """Messages by what is wrong with them; bytes go into the queue as they are."""
    touch = f"!!python/object/apply:os.system ['touch {mark}']".encode()
    return {
        "nothing": b"",
        "no JSON": b"junk",
        "no text": bytes(range(256)),
        "a million brackets": b"[" * 10**6,
        "kombu's own words for a date, wrong": b'{"__type__": "datetime", "__value__": [1]}',
        "kombu's own words for a number, wrong": b'{"__type__": "decimal", "__value__": "x"}',
        "a list": [1, 2],
        "null": None,
        "no fields": {},
        **{f"no {part}": _without(message() | {part: ...}) for part in PARTS},
        **{f"{part} is a list": message() | {part: [1]} for part in PARTS},
        "no tag": message(properties={"delivery_tag": ...}),
        "a number for a tag": message(properties={"delivery_tag": 5}),
        "no way back": message(properties={"delivery_info": None}),
        "another encoding of the body": message(properties={"body_encoding": "rot13"}),
        "somebody else's task": message(headers={"task": "os.system"}),
        "Celery's own task": message(headers={"task": "celery.backend_cleanup"}),
        "no task": message(headers={"task": ...}),
        "a list for a task": message(headers={"task": ["echo.memory"]}),
        "another language": message(headers={"lang": "cobol"}),
        "an object for a root": message(headers={"root_id": {"a": 1}}),
        "a number for an id": message(headers={"id": 5}),
        "far in the future": message(headers={"eta": "2099-01-01T00:00:00+00:00"}),
        "some other time": message(headers={"eta": "tomorrow"}),
        "long ago": message(headers={"expires": "2001-01-01T00:00:00+00:00"}),
        "a time limit": message(headers={"timelimit": [0.001, 0.001]}),
        "a list for a trace": message(headers={"traceparent": ["x"]}),
        "compressed": message(headers={"compression": "application/x-gzip"}, body=body(gzip.compress(b"{}").hex())),
        "pickled": message(
            content_type="application/x-python-serialize",
            content_encoding="binary",
            body=base64.b64encode(pickle.dumps(Harmful(mark))).decode(),
        ),
        "YAML": message(content_type="application/x-yaml", body=base64.b64encode(touch).decode()),
        "no base64": message(body="%%%"),
        "no JSON in it": message(body=base64.b64encode(b"{").decode()),
        "no arguments": message(body=body([], {}, EMBEDDED)),
        "two arguments": message(body=body([NOBODY, "x"], {}, EMBEDDED)),
        "a number for a job": message(body=body([5], {}, EMBEDDED)),
        "another key for a job": message(body=body([f"{NOBODY}:events"], {}, EMBEDDED)),
        "arguments by name": message(body=body([NOBODY], {"step": "x"}, EMBEDDED)),
        "a task to come after it": message(body=body([NOBODY], {}, EMBEDDED | {"callbacks": [{"task": "os.system"}]})),
        "8 MiB": message(body=body(["x" * 8 * 2**20], {}, EMBEDDED)),
    }


def test_a_worker_drops_what_is_no_message_of_ours(farm: Site, broker: redis.Redis, tmp_path: Path) -> None:
    """It goes on, says so in a line each, runs nothing of it, and serves jobs; nothing is held or comes back.

    What is right in form and names a job that there is not, is taken up and found to be nothing; so is a priority that
    there is not.
    """
    mark, log = tmp_path / "harmed", farm.folder / "worker.log"
    foreign = list(wrong(mark).values())
    foreign = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in foreign]
    odd = [message(properties={"priority": priority}) for priority in (0, 10**9, -1, "x", None)]
    pid = pid_of_worker(broker)
    assert pid
    begins = log.stat().st_size

    def said() -> str:
        """By the worker since then."""
        return log.read_bytes()[begins:].decode(errors="replace")

    def gone() -> list[str]:
        return [line for line in said().splitlines() if "reason=gone" in line and NOBODY in line]

    job = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 1}}
    before = farm.post("/api/jobs", job).json["job_id"]
    broker.lpush(QUEUE, *foreign, *map(json.dumps, odd))
    broker.publish("/0.celery.pidbox", json.dumps({"properties": {}, "body": 5}))
    after = farm.post("/api/jobs", job).json["job_id"]
    assert farm.ended(before)["status"] == farm.ended(after)["status"] == "succeeded"
    until(lambda: said().count("message dropped") == len(foreign) + 1, "all are dropped")
    until(lambda: len(gone()) == len(odd), "what names no job is nothing")
    until(lambda: broker.hlen(holding.HELD) == broker.llen(QUEUE) == 0, "nothing is held")
    assert farm.post("/api/cognitive/process", {"input_text": "Hello."}).status == 200
    assert "Traceback" not in said()
    assert pid_of_worker(broker) == pid
    assert not mark.exists()


def pid_of_worker(broker: redis.Redis) -> int | None:
    """The shared farm's; None when it is not heard of."""
    return next((worker.pid for worker in Registry(broker).live() if worker.node == "worker@test"), None)


@pytest.mark.parametrize("queue", [QUEUE, keys.direct("w@test")])
def test_every_message_by_hand_is_wrong_but_the_plain_one(queue: str, tmp_path: Path) -> None:
    """By its own form alone, on shared queues and on a worker's own; nothing of it is repeated."""
    assert envelopes.fault_of(message(), queue) is None
    for name, one in wrong(tmp_path).items():
        if not isinstance(one, bytes):
            fault = envelopes.fault_of(one, queue)
            assert fault, name
            assert "os.system" not in fault
            assert "tomorrow" not in fault
