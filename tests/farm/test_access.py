"""Keys on a real farm: made by command, held by two who do not see each other, rotated, revoked, told nowhere."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest
import redis
from processes import PYTHON, ROOT, Answer, Site, free_port, until

from echo_tasks import keys
from echo_tasks.access import __main__ as access
from echo_tasks.settings import load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

ADMIN_KEY = "of-a-secret-file-0123456789-0123456789"
LONG = {"max_tokens": 4096, "temperature": 0}
PATIENCE_S = 60
HEARTBEAT = b": waiting"
"""What a stream says now and then when it has nothing to say."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """A farm on which everybody needs a key, with logs as detailed as they get."""
    settings = {"API_KEYS": "required", "API_ADMIN_KEY": ADMIN_KEY, "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
    model = {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "4", "ECHO_MAX_PROMPT_TOKENS": "4096"}
    site = Site(tmp_path_factory.mktemp("guarded"), settings | model)
    with site.server("broker"), site.server("store"), site.worker("-I", "tests.farm.unhurried"), site.http():
        yield site


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def command(site: Site, *words: str) -> Done:
    """`python -m echo_tasks.access`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["access", *words]),
        patch.object(access, "current", lambda: load(site.env)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            access.main()
        except SystemExit as end:
            # As the interpreter does: a text is printed, and the status is 1.
            status, said = (1, end.code) if isinstance(end.code, str) else (int(end.code or 0), "")
            return Done(status, out.getvalue(), err.getvalue() + said)
    return Done(0, out.getvalue(), err.getvalue())


def made(site: Site, *words: str) -> str:
    """A new key, as it is printed."""
    done = command(site, "make", *words)
    assert done.returncode == 0, done.stderr
    (key,) = done.stdout.splitlines()
    note(site, key)
    return key


def note(site: Site, key: str) -> None:
    """Remember a secret, for the search at the end."""
    with (site.folder / "secrets.txt").open("a") as told:
        told.write(key.split("_", 2)[2] + "\n")


def key_id(key: str) -> str:
    return key.split("_")[1]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(site: Site, key: str, path: str) -> Answer:
    return site.get(path, bearer(key))


def submit(site: Site, key: str, **fields: object) -> Answer:
    return site.post("/api/jobs", {"input_text": "Hello."} | fields, bearer(key))


def test_the_command_line_makes_lists_and_revokes(guarded: Site) -> None:
    """A secret is printed once; nonsense is refused in a line."""
    key = made(guarded, "ann", "--scope", "submit", "--scope", "read", "--priority-most", "5", "--open-jobs", "3")
    for words in (["list"], ["show", key_id(key)]):
        told = command(guarded, *words).stdout
        assert key_id(key) in told
        assert key.split("_", 2)[2] not in told
    shown = json.loads(command(guarded, "show", key_id(key)).stdout)
    assert (shown["name"], shown["scopes"], shown["bounds"]["open_jobs"]) == ("ann", ["submit", "read"], 3)
    assert command(guarded, "revoke", key_id(key)).returncode == 0
    (line,) = [line for line in command(guarded, "list").stdout.splitlines() if key_id(key) in line]
    assert " revoked " in line
    assert ask(guarded, key, "/api/cognitive/sessions").status == 401
    for words in (
        ["show", "aaaaaaaaaa"],
        ["rotate", key_id(key)],
        ["make", "x", "--owner", "aaaaaaaaaa"],
        ["make", "x", "--priority", "11"],
        ["make", "x", "--priority", "9", "--priority-most", "3"],
    ):
        done = command(guarded, *words)
        assert done.returncode == 1, words
        (line,) = done.stderr.splitlines()
        assert line.startswith("echo: ")
    for words in (
        ["make", ""],
        ["make", "two\nlines"],
        ["make", "x", "--expires-days", "0"],
        ["make", "x", "--expires-days", "1e9"],
        ["make", "x", "--expires-days", "inf"],
        ["make", "x", "--requests-per-minute", "99999999999999999999"],
        ["rotate", key_id(key), "--grace", "-1"],
    ):
        done = command(guarded, *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "error: argument" in done.stderr


def test_the_command_line_is_a_program(guarded: Site) -> None:
    """Its exit status and output are those of its main function."""
    program = [PYTHON, "-m", "echo_tasks.access", "show", "aaaaaaaaaa"]
    done = subprocess.run(program, cwd=ROOT, env=guarded.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line == command(guarded, "show", "aaaaaaaaaa").stderr


def test_two_keys_talk_side_by_side(guarded: Site) -> None:
    """Through workers and their events: under one name, each has his own session and sees nothing of the other's."""
    ann, bob = made(guarded, "ann"), made(guarded, "bob")
    options = {"max_tokens": 8}
    for key, text in ((ann, "My name is Ann."), (bob, "My name is Bob.")):
        body = {"input_text": text, "session_id": "me", "processing_options": options}
        answer = guarded.post("/api/cognitive/process", body, bearer(key))
        assert (answer.status, answer.json["session_id"]) == (200, "me")
        job = answer.headers["Location"]
        events = ask(guarded, key, f"{job}/events").body.decode()
        assert '"session_id":"me"' in events
        assert key_id(key) not in events
        other = bob if key == ann else ann
        assert [ask(guarded, other, path).status for path in (job, f"{job}/events")] == [404, 404]
        assert ask(guarded, other, "/api/sessions/me").status == (404 if key == ann else 200)
        assert [turn["user"] for turn in ask(guarded, key, "/api/sessions/me/history").json["turns"]] == [text]
    found = guarded.post("/api/memory/search", {"query": "my name"}, bearer(bob)).json["results"]
    assert {one["session_id"] for one in found} <= {"me"}
    assert not [one for one in found if "Ann" in one["content"]]
    spent = redis.Redis.from_url(guarded.broker_url, decode_responses=True).hgetall(keys.spent(key_id(ann)))
    assert spent["jobs"] == "1"
    assert int(spent["tokens"]) > 0


def test_an_open_job_counts_until_a_worker_has_ended_it(guarded: Site) -> None:
    """Then the next one is taken."""
    key = made(guarded, "one-at-a-time", "--open-jobs", "1")
    first = submit(guarded, key, options=LONG)
    refused = submit(guarded, key)
    assert (first.status, refused.status) == (202, 429)
    assert int(refused.headers["Retry-After"]) >= 1
    assert guarded.request("DELETE", first.json["links"]["self"], headers=bearer(key)).status == 200
    brief = submit(guarded, key, options={"max_tokens": 4}, membranes=["grammar"])
    assert brief.status == 202
    until(lambda: ask(guarded, key, brief.json["links"]["self"]).json["finished_at"], "the job ends")
    assert submit(guarded, key, options={"max_tokens": 4}).status == 202


def test_a_revoked_key_is_cut_off_in_every_process(guarded: Site) -> None:
    """Its streams and waiting requests end, in another API process, too; its jobs go on."""
    key = made(guarded, "leaked")
    job = submit(guarded, key, options=LONG, session_id="a").json["links"]["self"]
    silent = submit(guarded, key, session_id="a").json["links"]["self"]  # it waits for the first one's end
    port = str(free_port())
    gunicorn = (PYTHON, "-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()")
    with guarded.run("api-2", *gunicorn, env={"API_PORT": port}) as second:
        until(lambda: "Listening at" in second.text(), "the second API listens")
        streams = [Stream(at, f"{one}/events", key) for at in (guarded.env["API_PORT"], port) for one in (job, silent)]
        waiting = Stream(port, "/api/jobs", key, body={"input_text": "Hello.", "options": LONG}, wait_s=60)
        until(lambda: len(open_jobs(guarded, key)) == 3, "the request waits")
        for stream in streams:
            until(lambda stream=stream: b"event: status" in stream.heard, "events come")
        assert not any(stream.ended.is_set() for stream in (*streams, waiting))
        beats = [stream.heard.count(HEARTBEAT) for stream in streams]
        assert command(guarded, "revoke", key_id(key)).returncode == 0
        for stream in (*streams, waiting):
            assert stream.ended.wait(PATIENCE_S)
        assert [stream.heard.count(HEARTBEAT) for stream in streams] == beats, "a stream ended no sooner than it beat"
        assert not any(b"event: result" in stream.heard for stream in streams)
        assert b" 401 " in waiting.heard.split(b"\r\n")[0]
        assert ask(guarded, key, job).status == 401
    assert ask(guarded, ADMIN_KEY, job).json["status"] == "running"
    for open_job in open_jobs(guarded, key):
        assert guarded.request("DELETE", f"/api/jobs/{open_job}", headers=bearer(ADMIN_KEY)).status == 200


def test_what_is_over_by_itself_ends_what_lasts(guarded: Site) -> None:
    """A key that expires, and the secret before a rotation, while a long job runs."""
    expires_s = 4.0
    while not (served := served_until_it_expires(guarded, expires_s)):
        expires_s *= 2  # the machine was too slow for so short a life
    port, rotated = guarded.env["API_PORT"], made(guarded, "twice")
    streams = [Stream(port, f"{submit(guarded, rotated, options=LONG).json['links']['self']}/events", rotated)]
    until(lambda: b"event: status" in streams[0].heard, "events come")
    assert not streams[0].ended.is_set()
    note(guarded, command(guarded, "rotate", key_id(rotated), "--grace", "1").stdout.strip())
    for stream in (*streams, *served):
        assert stream.ended.wait(PATIENCE_S)
        assert b"event: result" not in stream.heard
    assert b" 401 " in served[-1].heard.split(b"\r\n")[0]
    for job_id in redis.Redis.from_url(guarded.broker_url, decode_responses=True).zrange(keys.OPEN_JOBS, 0, -1):
        guarded.request("DELETE", f"/api/jobs/{job_id}", headers=bearer(ADMIN_KEY))


def served_until_it_expires(site: Site, expires_s: float) -> list[Stream]:
    """The events and the waiting request of a key that is good for so long; none if it was over before they began."""
    port, key = site.env["API_PORT"], made(site, "soon", "--expires-days", str(expires_s / 86400))
    job = submit(site, key, options=LONG)
    if job.status != 202:
        return []
    stream = Stream(port, f"{job.json['links']['self']}/events", key)
    until(lambda: stream.ended.is_set() or b"event: status" in stream.heard, "events come")
    waiting = Stream(port, "/api/jobs", key, body={"input_text": "Hello.", "options": LONG}, wait_s=60)
    until(lambda: waiting.ended.is_set() or len(open_jobs(site, key)) == 2, "the request waits")
    return [] if stream.ended.is_set() or waiting.ended.is_set() else [stream, waiting]


def open_jobs(site: Site, key: str) -> set[str]:
    """The jobs of a key that have not ended."""
    found: set[str] = redis.Redis.from_url(site.broker_url, decode_responses=True).smembers(keys.open_of(key_id(key)))
    return found


def test_a_key_is_rotated_under_load_and_no_request_fails(guarded: Site) -> None:
    """Clients change over one by one; when the grace is over, the old secret is good for nothing."""
    old = made(guarded, "busy", "--requests-per-minute", "1000000")
    held, failed, asked, over = [old] * 4, [], [0] * 4, threading.Event()

    def client(number: int) -> None:
        while not over.is_set():
            answer = ask(guarded, held[number], "/api/cognitive/sessions")
            asked[number] += 1
            if answer.status != 200:
                failed.append((answer.status, answer.body))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    done = command(guarded, "rotate", key_id(old), "--grace", "600")
    new = done.stdout.strip()
    note(guarded, new)
    assert done.returncode == 0
    assert key_id(new) == key_id(old)
    for number in range(4):
        held[number], before = new, [*asked]
        until(lambda before=before: all(now > then for now, then in zip(asked, before, strict=True)), "all go on")
    over.set()
    for thread in clients:
        thread.join()
    assert not failed
    assert ask(guarded, old, "/api/cognitive/sessions").status == 200
    last = command(guarded, "rotate", key_id(old), "--grace", "0").stdout.strip()
    note(guarded, last)
    statuses = [ask(guarded, key, "/api/cognitive/sessions").status for key in (old, new, last)]
    assert statuses == [401, 401, 200]


def test_tricks_with_headers_let_nobody_in(guarded: Site) -> None:
    """Byte by byte, through the real server: two keys, other cases, what is no text, what is too long."""
    key = made(guarded, "tricky", "--scope", "read")
    good = f"Bearer {key}".encode()
    tricks = {
        b"authorization: " + good: 200,
        b"AUTHORIZATION: bEARER " + key.encode(): 200,
        b"X-Api-Key:" + key.encode(): 200,
        b"Authorization: " + good + b"\r\nAuthorization: " + good: 401,
        b"Authorization: " + good + b"\r\nX-API-Key: " + key[:-1].encode(): 401,
        b"Authorization: Bearer " + b"\xff\xfe" * 20: 401,
        b"Authorization: Bearer " + "é".encode() * 40: 401,
        b"Authorization: Bearer " + b"e" * 8000: 401,
        b"Authorization: Bearer " + b"e" * 9000: 431,
        b"Authorization: " + good + b"\0": 400,
        b"Authorization : " + good: 400,
        b"Authorization: " + good + b"\r\n folded": 400,
        b"Authorization_: " + good: 401,
        b"X_API_Key: " + key.encode(): 401,
    }
    for header, status in tricks.items():
        assert raw(guarded, header) == status, header[:60]


def test_the_api_starts_elsewhere_only_with_a_key_or_a_word(tmp_path: Path) -> None:
    """Status 78, and its last line says why; a key in the broker, or an explicit setting, is enough."""
    site = Site(tmp_path, {"API_HOST": "0.0.0.0"})
    with site.server("broker"):
        gunicorn = (PYTHON, "-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()")
        with site.run("refused", *gunicorn) as refused:
            assert refused.process.wait(60) == 78
        *before, line = refused.text().splitlines()
        assert all(" [info] " in event for event in before)
        assert "API_HOST='0.0.0.0'" in line
        assert "python -m echo_tasks.access make" in line
        made(site, "first", "--scope", "admin")
        with site.http() as api:
            answer = site.get("/api/services")
            assert (answer.status, answer.headers["Content-Type"]) == (401, "application/problem+json")
            assert api.process.poll() is None


def test_no_secret_is_told_anywhere(guarded: Site) -> None:
    """In no log, answer or process list of a farm at DEBUG whose keys were used rightly and wrongly; it comes last."""
    secrets = [ADMIN_KEY, *(guarded.folder / "secrets.txt").read_text().split()]
    assert len(secrets) >= 8
    raw(guarded, b"Authorization: Bearer " + ADMIN_KEY.encode() + b"\0")
    told = {path.name: path.read_text(errors="replace") for path in guarded.folder.glob("*.log")}
    assert {"api.log", "worker.log", "broker.log", "store.log", "api-2.log"} <= set(told)
    for path in ("/health", "/readyz", "/metrics", "/openapi/openapi.json"):
        told[path] = guarded.get(path, bearer(ADMIN_KEY)).body.decode()
    told["processes"] = repr([process.cmdline() for process in psutil.Process().children(recursive=True)])
    told["metrics of the broker"] = repr(redis.Redis.from_url(guarded.broker_url).info())
    assert "key_id" in told["api.log"]
    for name, text in told.items():
        assert not [secret for secret in secrets if secret in text], name


def raw(site: Site, header: bytes) -> int:
    """Status of a request with just this header, byte by byte; 0 when the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", int(site.env["API_PORT"])), 20) as connection:
        connection.sendall(
            b"GET /api/cognitive/sessions HTTP/1.1\r\nHost: a\r\n" + header + b"\r\nConnection: close\r\n\r\n"
        )
        line = connection.makefile("rb").readline()
    return int(line.split()[1]) if line else 0


class Stream:
    """A request whose answer is read as it comes, by a thread."""

    def __init__(self, port: str, path: str, key: str, *, body: object = None, wait_s: int = 0) -> None:
        self.heard, self.ended = b"", threading.Event()
        content = b"" if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nPrefer: wait={wait_s}\r\n\r\n"
        )
        self._connection = socket.create_connection(("127.0.0.1", int(port)), 120)
        self._connection.sendall(head.encode() + content)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self._connection:
            while part := self._connection.recv(65536):
                self.heard += part
        self.ended.set()
