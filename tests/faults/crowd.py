"""Clients that go on asking while the farm is harmed: patient, and with a key for every request."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from processes import Answer, Site

POLL_S = 0.1

PATIENTLY = frozenset({0, 503})
"""What a client tries again after: no answer at all, and the word that there will be one."""

CONVERSATION = (
    "My name is Zorla. I live in Brimtak.",
    "Where do I live?",
    "Actually, I moved to Osk.",
    "Where do I live?",
)

SCRIPTS: tuple[tuple[str, ...], ...] = (
    CONVERSATION,
    CONVERSATION,
    ("What is two plus three?",),
    ("All men are mortal. Socrates is a man. Is Socrates mortal?",),
    ("Correct this: she go to the market yesterday", "Hello!"),
    ("Why is the sky blue?",),
)
"""What each client says over and over: those who say more than one thing do so in a session."""


@dataclass
class Asked:
    """One request and what came of it; times are monotonic seconds."""

    script: int
    place: int
    text: str
    session_id: str | None
    asked_at: float
    job_id: str = ""
    refusals: int = 0
    ended_at: float | None = None
    job: dict[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> str | None:
        """The text of the answer, if there was one."""
        result = self.job.get("result")
        return result["response_text"] if result else None


def ask(site: Site, asked: Asked, patience_s: float, retried: Set[int] = PATIENTLY) -> None:
    """Submit until accepted, under one key; then ask after the job until it has ended, or patience has."""
    options = {"temperature": 0, "max_tokens": 48}
    body = {"input_text": asked.text, "options": options, "cache": False}
    if asked.session_id:
        body["session_id"] = asked.session_id
    key = {"Idempotency-Key": uuid.uuid4().hex}
    deadline = asked.asked_at + patience_s
    while time.monotonic() < deadline:
        if asked.job_id:
            reply = _request(site, "GET", f"/api/jobs/{asked.job_id}")
        else:
            reply = _request(site, "POST", "/api/jobs", body, key)
        if reply.status == 202:
            asked.job_id = reply.json["job_id"]
        elif reply.status == 200:
            asked.job = reply.json
            asked.job_id = asked.job["job_id"]
            if asked.job["finished_at"]:
                asked.ended_at = time.monotonic()
                return
        elif reply.status in retried:
            asked.refusals += 1
        else:
            raise AssertionError(f"{asked.text!r}: {reply.status} {reply.body!r}")
        time.sleep(POLL_S)


def _request(site: Site, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One exchange; status 0 when there was no answer, or only a part of one."""
    try:
        return site.request(method, path, body, headers, timeout=10)
    except http.client.HTTPException:
        return Answer(0, {}, b"")


def converse(
    site: Site, script: int, patience_s: float, retried: Set[int] = PATIENTLY, pause_s: float = 0
) -> list[Asked]:
    """Say a script once, line by line, with a pause after each."""
    lines = SCRIPTS[script]
    session_id = f"s-{uuid.uuid4().hex}" if len(lines) > 1 else None
    said = []
    for place, text in enumerate(lines):
        said.append(Asked(script, place, text, session_id, time.monotonic()))
        ask(site, said[-1], patience_s, retried)
        if said[-1].ended_at is None:
            break
        time.sleep(pause_s)
    return said


@contextmanager
def crowd(
    site: Site, scripts: Sequence[int], patience_s: float, retried: Set[int] = PATIENTLY, pause_s: float = 0
) -> Iterator[list[Asked]]:
    """A client for each script, once at least and until the block ends; then all are answered, or out of patience.

    Between two lines a client pauses: how much work a slow farm has does not depend on how long it takes.

    A job that has not ended in `patience_s` is taken for lost, and its client says no more. An answer that is neither
    good nor one of the statuses that are `retried` is an error.
    """
    is_over = threading.Event()

    def client(script: int) -> list[Asked]:
        said: list[Asked] = []
        while True:
            said += converse(site, script, patience_s, retried, pause_s)
            if is_over.is_set() or said[-1].ended_at is None:
                return said

    asked: list[Asked] = []
    with ThreadPoolExecutor(len(scripts)) as pool:
        clients = [pool.submit(client, script) for script in scripts]
        try:
            yield asked
        finally:
            is_over.set()
        asked += itertools.chain.from_iterable(client.result() for client in clients)
