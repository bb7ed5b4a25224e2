"""The edge for a benchmark or a test: a real nginx with a certificate of its own, on free ports, before some APIs."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import site

RENDER = site.ROOT / "docker" / "nginx" / "render.sh"
_START = RENDER.with_name("start.sh")

_PATIENCE_S = 20


@dataclass(frozen=True, slots=True)
class Edge:
    """A running nginx: its ports on loopback, who vouches for it, its process, and what it has logged."""

    http_port: int
    https_port: int
    certificate: Path
    process: subprocess.Popen[bytes]
    log: Path

    def tls(self) -> ssl.SSLContext:
        """A client's side of TLS, which takes this edge's certificate and no other."""
        return ssl.create_default_context(cafile=str(self.certificate))


def missing() -> str:
    """Why there can be no edge on this machine; empty where there can."""
    absent = [program for program in ("nginx", "openssl") if shutil.which(program) is None]
    return f"needs {' and '.join(absent)}" if absent else ""


@contextmanager
def before(apis: Sequence[int], settings: Mapping[str, str]) -> Iterator[Edge]:
    """An edge before the APIs on these ports of loopback, serving until the block ends."""
    with tempfile.TemporaryDirectory(prefix="edge-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, nginx serves as somebody who owns nothing
        certificate, key = certified(folder)
        http_port, https_port = site.free_port(), site.free_port()
        env = os.environ | {
            "EDGE_API": " ".join(f"127.0.0.1:{port}" for port in apis),
            "EDGE_ADDRESS": "127.0.0.1",
            "EDGE_HTTP_PORT": str(http_port),
            "EDGE_HTTPS_PORT": str(https_port),
            "EDGE_PUBLIC_PORT": str(https_port),
            "EDGE_CERT": str(certificate),
            "EDGE_KEY": str(key),
            **settings,
        }
        log = folder / "edge.log"
        command = ["sh", str(_START), str(folder / "edge")]
        with (
            log.open("ab") as output,
            subprocess.Popen(command, env=env, stdout=output, stderr=output) as process,  # noqa: S603 - our own
        ):
            try:
                edge = Edge(http_port, https_port, certificate, process, log)
                _await(edge)
                yield edge
            finally:
                process.terminate()


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback that vouches for itself, and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made_of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *made_of, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own
    return certificate, key


def _await(edge: Edge) -> None:
    """Wait until it listens. Raises RuntimeError with its log where it does not start."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and edge.process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", edge.https_port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the edge does not start: {edge.log.read_text()}")
