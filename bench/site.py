"""A whole farm for a benchmark, started and stopped as its users do it, on free ports and in a folder of its own."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

ROOT = Path(__file__).resolve().parent.parent

_PATIENCE_S = 60
"""Longest wait that the API allows for a job's end."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a running farm is to be found."""

    api_port: int
    broker_url: str

    def job(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Submit a job and wait for its end. Raises RuntimeError if it does not succeed."""
        answer = self.ask("POST", "/api/jobs", body)
        while "result" not in answer or not answer["finished_at"]:
            answer = self.ask("GET", f"/api/jobs/{answer['job_id']}")
        if answer["status"] != "succeeded":
            raise RuntimeError(f"job {answer['job_id']}: {answer['error']}")
        return answer

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, wait_s: int = _PATIENCE_S
    ) -> dict[str, Any]:
        """The answer to a request, as JSON. Raises RuntimeError for one that says that it failed."""
        headers = {"Content-Type": "application/json", "Prefer": f"wait={wait_s}"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=2 * _PATIENCE_S)) as connection:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            reply = connection.getresponse()
            text = reply.read()
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {text.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(text)
        return answer


@contextmanager
def farm(folder: Path, settings: Mapping[str, str], checkout: Path = ROOT) -> Iterator[Site]:
    """A farm of the code in a checkout, with these settings, and one worker unless they say otherwise.

    It has stopped when the block ends.
    """
    names = ("BROKER_PORT", "STORE_PORT", "API_PORT", "FLOWER_PORT", "CONTROLLER_PORT", "EXPORTER_PORT")
    ports = {name: free_port() for name in names}
    env = os.environ | {name: str(port) for name, port in ports.items()}
    env |= {"ECHO_VAR": str(folder / "var"), "PYTHONPATH": str(checkout), "AUTO_SCALING_ENABLED": "false", **settings}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"

    def control(verb: str) -> None:
        command = [sys.executable, "-m", "echo_tasks.local.control", verb]
        subprocess.run(command, cwd=checkout, env=env, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own

    control("start")
    try:
        yield Site(ports["API_PORT"], f"redis://127.0.0.1:{ports['BROKER_PORT']}")
    finally:
        control("stop")


@contextmanager
def store(folder: Path) -> Iterator[str]:
    """The farm's own cache server by itself, answering at this URL until the block ends."""
    with _server("store", folder, {"MAX_CACHE_MEMORY_MB": "2048"}) as url:
        yield url


@contextmanager
def broker(folder: Path, fsync: str) -> Iterator[str]:
    """The farm's own broker by itself, syncing its disk as BROKER_FSYNC says, at this URL until the block ends."""
    with _server("broker", folder, {"BROKER_FSYNC": fsync}) as url:
        yield url


@contextmanager
def api(settings: Mapping[str, str]) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """The API by itself under its own server, answering until the block ends, and gunicorn's master."""
    port = int(settings["API_PORT"])
    env = os.environ | {"LOG_LEVEL": "WARNING"} | dict(settings)
    command = [sys.executable, "-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()"]
    with subprocess.Popen(command, cwd=ROOT, env=env) as master:  # noqa: S603 - our own
        try:
            alone = Site(port, settings["BROKER_URL"])
            _await_api(alone, master)
            yield alone, master
        finally:
            master.terminate()


def _await_api(alone: Site, master: subprocess.Popen[bytes]) -> None:
    while master.poll() is None:
        try:
            alone.ask("GET", "/livez")
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the API does not start: status {master.returncode}")


@contextmanager
def _server(role: str, folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    env = os.environ | {f"{role.upper()}_PORT": str(port), "ECHO_VAR": str(folder / "var"), **settings}
    command = [sys.executable, "-m", "echo_tasks.local.servers", role]
    url = f"redis://127.0.0.1:{port}/0"
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as server:  # noqa: S603 - our own
        try:
            with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.1), 100)) as client:
                client.ping()
            yield url
        finally:
            server.terminate()


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
