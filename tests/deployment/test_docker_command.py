"""`quick-start.sh … --docker`: what it asks of a Docker that writes down its arguments, and of an edge that is real."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import compose_files
import pytest
from processes import ROOT

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")

DOCKER = """#!/bin/sh
echo "$*" >>"$WRITTEN"
case "$*" in
  "$FAILS"*) echo "Cannot connect to the Docker daemon" >&2; exit 1 ;;
  "compose port nginx 8443") echo "0.0.0.0:$EDGE" ;;
esac
"""


class Terminal:
    """The scripts in a folder of their own, and the Docker that they find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "docker").mkdir()
        for name in ("quick-start.sh", "docker/farm.sh", "docker/secrets.sh"):
            shutil.copy(ROOT / name, folder / name)
        self.programs = folder / "programs"
        self.programs.mkdir()
        (self.programs / "docker").write_text(DOCKER)
        (self.programs / "docker").chmod(0o755)
        self.secrets = folder / "secrets"

    def __call__(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": f"{self.programs}:{os.environ['PATH']}", "WRITTEN": str(self.folder / "written"), "FAILS": "-"}
        return subprocess.run(
            ["./quick-start.sh", *words], cwd=self.folder, env=told | env, capture_output=True, text=True, timeout=60
        )

    def asked(self) -> list[str]:
        """What Docker was asked for, but whether it is there."""
        lines = (self.folder / "written").read_text().splitlines()
        return [line for line in lines if line not in ("compose version", "info") and " port " not in line]


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@needs_openssl
def test_the_first_start_makes_secrets_and_a_certificate(terminal: Terminal) -> None:
    """Each that the Compose file names, random, closed to others by its folder; a second start leaves them."""
    done = terminal("start", "--docker", EDGE="8443", EDGE_SERVER_NAME="echo.example.org")
    assert done.returncode == 0, done.stderr
    assert "https://localhost:8443/flower/" in done.stdout
    assert terminal.asked() == ["compose up --detach --build --wait --wait-timeout 600"]
    made = {path.name: path.read_text() for path in terminal.secrets.iterdir()}
    assert set(made) == set(compose_files.WHOLE["secrets"])
    assert len(set(made.values())) == len(made)
    assert not any(len(text) < 64 or text in done.stdout + done.stderr for text in made.values())
    assert stat.S_IMODE(terminal.secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in terminal.secrets.iterdir()} == {0o644}
    words = ["openssl", "x509", "-in", str(terminal.secrets / "tls_cert"), "-noout", "-checkhost", "echo.example.org"]
    assert "does match" in subprocess.run(words, capture_output=True, text=True).stdout
    ssl.create_default_context().load_cert_chain(terminal.secrets / "tls_cert", terminal.secrets / "tls_key")
    again = terminal("--docker", "start", EDGE="8443")
    assert "made" not in again.stdout
    assert {path.name: path.read_text() for path in terminal.secrets.iterdir()} == made


@needs_openssl
@pytest.mark.parametrize(
    ("line", "env", "name"),
    [
        ("EDGE_SERVER_NAME=echo.example.org www.example.org", {}, "echo.example.org"),
        ("export EDGE_SERVER_NAME='echo.example.org' # ours", {}, "echo.example.org"),
        ("EDGE_SERVER_NAME=one.example.org\nEDGE_SERVER_NAME=two.example.org", {}, "two.example.org"),
        ("EDGE_SERVER_NAME=echo.example.org", {"EDGE_SERVER_NAME": "mine.example.org"}, "mine.example.org"),
        ("#EDGE_SERVER_NAME=echo.example.org\nEDGE_SERVER_NAME=_", {}, "localhost"),
        ("EDGE_SERVER_NAME=`touch${IFS}run`", {}, "`touch${IFS}run`"),
    ],
)
def test_the_certificate_is_for_the_name_that_compose_reads(
    terminal: Terminal, line: str, env: dict[str, str], name: str
) -> None:
    """A line of .env, behind the environment; nothing of it is run."""
    (terminal.folder / ".env").write_text(f"{line}\nHTTPS_PORT=8443\n")
    assert terminal("start", "--docker", EDGE="8443", **env).returncode == 0
    words = ["openssl", "x509", "-in", str(terminal.secrets / "tls_cert"), "-noout", "-subject", "-nameopt", "RFC2253"]
    assert subprocess.run(words, capture_output=True, text=True).stdout.strip() == f"subject=CN={name}"
    assert not (terminal.folder / "run").exists()


@needs_openssl
def test_secrets_that_are_there_are_kept(terminal: Terminal) -> None:
    """One's own password and certificate; a certificate without its key is told."""
    terminal.secrets.mkdir()
    (terminal.secrets / "broker_password").write_text("mine")
    (terminal.secrets / "tls_cert").write_text("mine")
    done = terminal("start", "--docker", EDGE="8443")
    assert done.returncode == 1
    assert "secrets/tls_cert is there, and secrets/tls_key is not" in done.stderr
    assert (terminal.secrets / "broker_password").read_text() == "mine"
    assert not (terminal.folder / "written").read_text().count("compose up")


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("stop", ["compose down"]),
        ("logs", ["compose logs --tail 200"]),
        ("logs worker", ["compose logs --tail 200 worker"]),
        ("monitor", ["compose stats"]),
        (
            "scale 3",
            ["compose up --detach --no-recreate --no-deps --wait --wait-timeout 600 --scale worker=3 worker"],
        ),
    ],
)
def test_each_command_is_one_of_composes(terminal: Terminal, words: str, asked: list[str]) -> None:
    """No more, and with no other effect."""
    done = terminal(*words.split(), "--docker", EDGE="8443")
    assert done.returncode == 0, done.stderr
    assert terminal.asked() == asked
    assert not terminal.secrets.exists()


@pytest.mark.parametrize(("words", "status"), [("scale", 1), ("scale many", 1), ("frobnicate", 2), ("", 2)])
def test_what_makes_no_sense_is_told(terminal: Terminal, words: str, status: int) -> None:
    """In a line, before Docker is asked for anything."""
    done = terminal(*words.split(), "--docker")
    assert done.returncode == status
    assert done.stderr.strip()
    assert not (terminal.folder / "written").exists() or terminal.asked() == []


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("compose version", "Docker's Compose plugin"),
        ("info", "no Docker Engine answers: Cannot connect to the Docker daemon"),
    ],
)
def test_without_docker_it_says_what_is_missing(terminal: Terminal, fails: str, told: str) -> None:
    """The plugin, or an engine; nothing is made or started."""
    done = terminal("start", "--docker", FAILS=fails)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert not terminal.secrets.exists()


def test_without_any_docker_it_says_so(terminal: Terminal) -> None:
    """A machine that has none, where everything else is."""
    for name in ("bash", "env", "dirname", "cat"):
        (terminal.programs / name).symlink_to(str(shutil.which(name)))
    (terminal.programs / "docker").unlink()
    done = terminal("start", "--docker", PATH=str(terminal.programs))
    assert done.returncode == 1
    assert "needs Docker, which is not installed" in done.stderr


class Edge(BaseHTTPRequestHandler):
    """An edge as it should be, for whoever has the key."""

    key = ""

    def do_GET(self) -> None:
        self.answer({"/readyz": 200}.get(self.path, 404))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200 if self.headers["Authorization"] == f"Bearer {self.key}" else 401)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def edge(terminal: Terminal) -> Iterator[str]:
    """The port of a server with the certificate and the key that were made."""
    subprocess.run(["sh", "docker/secrets.sh"], cwd=terminal.folder, check=True, capture_output=True)
    Edge.key = (terminal.secrets / "api_admin_key").read_text()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Edge)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(terminal.secrets / "tls_cert", terminal.secrets / "tls_key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield str(server.server_port)
    server.shutdown()
    server.server_close()


@needs_openssl
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_containers_are_tested_through_the_edge(terminal: Terminal, edge: str) -> None:
    """Ready, closed without a key, a job with the key that was made; a fault of any is told, and is the status."""
    done = terminal("test", "--docker", EDGE=edge)
    assert (done.returncode, done.stdout.count("ok  ")) == (0, 4), done.stdout + done.stderr
    assert terminal("status", "--docker", EDGE=edge).returncode == 0
    Edge.key = "another"
    done = terminal("test", "--docker", EDGE=edge)
    assert done.returncode == 1
    assert "FAILED  a job is answered: 401 instead of 200" in done.stdout
    away = terminal("status", "--docker", EDGE="1")
    assert away.returncode == 1
    assert "000" in away.stdout
