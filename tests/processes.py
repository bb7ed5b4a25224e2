"""Real processes for tests: started on free ports and temporary folders, ended by their own process ids."""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import redis
from zygote import READ_BY_IMPORTS, Forked, Zygote

from echo_tasks.local import servers, wire
from echo_tasks.settings import load

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


_PORTS = ("BROKER_PORT", "STORE_PORT", "API_PORT", "FLOWER_PORT", "CONTROLLER_PORT", "EXPORTER_PORT", "PROMETHEUS_PORT")


HASTE = {"ECHO_LEASE_S": "2", "RESTART_PAUSE_S": "0.3", "ECHO_THREADS": "1"}
"""Settings of every farm of a test, unless it has others: short times; one thread, since several share the cores."""


def _own_ports() -> Iterator[int]:
    """This process's share of the ports that the kernel gives to no client: one of those may be taken at any moment."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = range(10_000 + number % 8 * 2_500, 12_500 + number % 8 * 2_500)
    return itertools.cycle([*share[(begin := os.getpid() % len(share)) :], *share[:begin]])


_ports = _own_ports()


def free_port() -> int:
    """A port that no process listens on, and that this process gives out no second time soon."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("unreachable: the ports are a cycle")


def asked(request: str | urllib.request.Request, timeout: float = 20) -> tuple[int, bytes]:
    """Status and body of whoever listens there; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def until(condition: Callable[[], Any], what: str, within_s: float = 120) -> Any:
    """Poll until `condition` is true and return its value; fail with `what` when it never is.

    The longer it takes, the less often it is polled: what is waited for needs the processor, too.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < within_s:
        if value := condition():
            return value
        time.sleep(min(0.02 + waited_s / 20, 0.25))
    raise AssertionError(f"not within {within_s:g} s: {what}")


@dataclass
class Running:
    """A process, its log, and its end."""

    process: subprocess.Popen[bytes] | Forked
    log: Path

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, with_signal: int = signal.SIGTERM, within_s: float = 30) -> int:
        """Signal the process and wait; by force when it does not end. Its exit status."""
        if self.process.poll() is None:
            self.send(with_signal)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def ended_after(running: Running) -> Iterator[Running]:
    """Yield what runs, and end it."""
    try:
        yield running
    finally:
        running.send(signal.SIGCONT)
        running.stop()


@functools.cache
def zygote() -> Zygote:
    """The process of this test run that forks workers."""
    made = Zygote(PYTHON, ROOT, dict(os.environ))
    atexit.register(made.end)
    return made


@dataclass
class Site:
    """One farm's ports, folder and environment; no two tests share one unless they mean to."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    root: Path = ROOT
    """Whose code it runs."""

    made: ClassVar[list[Site]] = []
    """All of this process, for the logs that a failed test names."""

    def __post_init__(self) -> None:
        Site.made.append(self)
        ports = {name: str(free_port()) for name in _PORTS}
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        base = inherited | ports | {"ECHO_VAR": str(self.folder / "var"), "PYTHONUNBUFFERED": "1"} | HASTE
        base["PATH"] = f"{Path(PYTHON).parent}{os.pathsep}{base.get('PATH', '')}"
        self.env = base | self.env

    @property
    def broker_url(self) -> str:
        return f"redis://127.0.0.1:{self.env['BROKER_PORT']}/0"

    @property
    def store_url(self) -> str:
        return f"redis://127.0.0.1:{self.env['STORE_PORT']}/0"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.env['API_PORT']}"

    @contextmanager
    def run(
        self,
        name: str,
        *command: str,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        said: bytes = b"",
    ) -> Iterator[Running]:
        """Run a command in the project's folder with this site's environment, until the block ends.

        `said` is what it reads from its standard input.
        """
        log = self.folder / f"{name}.log"
        with log.open("ab") as output, tempfile.TemporaryFile() as heard:
            heard.write(said)
            heard.seek(0)
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.env | dict(env or {}),
                stdin=heard,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
            )
        yield from ended_after(Running(process, log))

    @contextmanager
    def supervised(
        self, name: str, *command: str, flag: str = "", env: Mapping[str, str] | None = None
    ) -> Iterator[Running]:
        """What stands in for a program of the supervisor's, as in the Procfile; it all ends with the block."""
        words = (flag, name) if flag else (name,)
        try:
            with self.run(name, PYTHON, "-m", "echo_tasks.local.attach", *words, *command, env=env) as running:
                yield running
        finally:
            if wire.ask(self.var, {"end": True}):
                until(lambda: self.supervisor() is None, "the supervisor ends")

    def supervisor(self) -> dict[str, Any] | None:
        """What the supervisor of this farm says: its pid, and those of its programs by their names."""
        return wire.ask(self.var, {"status": True})

    def pid_of(self, program: str) -> int | None:
        """The pid of a program that the supervisor runs; None while there is none."""
        pid: int | None = (self.supervisor() or {"programs": {}})["programs"].get(program)
        return pid

    @property
    def var(self) -> Path:
        return Path(self.env["ECHO_VAR"])

    @contextmanager
    def server(self, role: str) -> Iterator[Running]:
        """The farm's own broker or store, answering: with the farm's own arguments, but without its launcher."""
        settings = load(self.env)
        servers.folder(role, settings).mkdir(parents=True, exist_ok=True)
        command = [servers.program(settings), *servers.arguments(role, settings)]
        url = self.broker_url if role == "broker" else self.store_url
        with self.run(role, *command, said=servers.told(role, settings)) as running:
            until(lambda: answers(url) or running.process.poll() is not None, f"{role} answers")
            assert running.process.poll() is None, running.text()
            yield running

    @contextmanager
    def worker(self, *options: str, env: Mapping[str, str] | None = None, name: str = "worker") -> Iterator[Running]:
        """A Celery worker, announced and consuming."""
        command = ("celery", "-A", "echo_tasks", "worker", "-n", f"{name}@test", *options)
        is_whole = self.root != ROOT or not READ_BY_IMPORTS.isdisjoint(self.env | dict(env or {}))
        with (
            self.run(name, PYTHON, "-m", *command, env=env) if is_whole else self.forked(name, command, env) as running
        ):
            client = redis.Redis.from_url(self.broker_url)
            record = f"echo:worker:{name}@test"
            until(lambda: client.exists(record) or running.process.poll() is not None, f"{name} is ready")
            client.close()
            assert running.process.poll() is None, running.text()
            yield running

    @contextmanager
    def forked(self, name: str, command: Sequence[str], env: Mapping[str, str] | None) -> Iterator[Running]:
        """Run a worker as `run` would, by a process that has imported it already."""
        log = self.folder / f"{name}.log"
        log.touch()
        yield from ended_after(Running(zygote().fork(list(command), self.env | dict(env or {}), log), log))

    @contextmanager
    def http(self) -> Iterator[Running]:
        """The API under its production server."""
        command = (PYTHON, "-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()")
        with self.run("api", *command) as running:
            until(lambda: self.get("/livez").status == 200 or running.process.poll() is not None, "API answers")
            assert running.process.poll() is None, running.text()
            yield running

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", path, body, headers)

    def ended(self, job_id: str, within_s: float = 90) -> dict[str, Any]:
        """The job, once it has ended."""

        def look() -> dict[str, Any] | None:
            job: dict[str, Any] = self.get(f"/api/jobs/{job_id}").json
            return job if job["finished_at"] else None

        found: dict[str, Any] = until(look, f"job {job_id} ends", within_s)
        return found

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 90
    ) -> Answer:
        """One HTTP exchange; status 0 when nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - loopback
            self.api + path,
            data,
            {"Content-Type": "application/json"} | dict(headers or {}),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310
                return Answer(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())
        except OSError:
            return Answer(0, {}, b"")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answers(url: str) -> bool:
    """Whether a server answers PING at the URL."""
    client = redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
