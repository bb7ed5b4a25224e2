"""The audits of CI find what there is to be found, and say so when they could not look."""

from __future__ import annotations

import json
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import locked
import pytest
from processes import PYTHON, ROOT, free_port

CI = ROOT / ".ci"
ACCEPTED = tomllib.loads((CI / "accepted.toml").read_text())


class Service(ThreadingHTTPServer):
    """A vulnerability service that answers as OSV does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.known: dict[str, str] = {}  # package: id
        self.asked: list[str] = []

    @property
    def options(self) -> tuple[str, ...]:
        """pip-audit's, to ask it."""
        return "--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.server.asked.append(name)
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}]
        known = self.server.known.get(name)
        found = {"vulns": [{"id": known, "summary": "bad", "affected": affected}]} if known else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PYTHON, str(CI / script), *arguments], capture_output=True, text=True)


def test_a_vulnerability_is_accepted_by_name_or_refused(service: Service) -> None:
    """Every locked package is asked for; what is accepted passes, the same of another package does not."""
    (accepted,) = (entry for entry in ACCEPTED["vulnerability"] if entry["package"] == "diskcache")
    service.known = {"diskcache": accepted["id"]}
    done = run("vulnerabilities.py", *service.options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 found, 1 accepted" in done.stdout
    assert {*service.asked} >= {name for name, _, marker in locked.pinned(locked.LOCKS / "all.txt") if marker == "None"}

    service.known = {"redis": accepted["id"]}
    done = run("vulnerabilities.py", *service.options)
    assert done.returncode == 1
    assert f"{accepted['id']}; fixed in none" in done.stdout


def test_an_audit_that_asked_nobody_says_so() -> None:
    """No service, no failure; and nothing that could be taken for an audit."""
    nowhere = f"http://127.0.0.1:{free_port()}/"
    done = run("vulnerabilities.py", "--vulnerability-service", "osv", "--osv-url", nowhere)
    assert done.returncode == 0, done.stderr
    assert "NOT AUDITED" in done.stdout
    assert "accepted" not in done.stdout


def test_what_is_accepted_has_a_reason_and_is_there() -> None:
    """No entry without a why, and none for a package that is not locked any more."""
    assert all(entry["reason"] for kind in ACCEPTED.values() for entry in kind)
    assert {entry["package"] for entry in ACCEPTED["vulnerability"]} <= locked.names(locked.LOCKS / "all.txt")


SECRETS = {
    "conf.py": "key = 'AKIA" + "Q3EGVQ7T5T2YWL4D'",  # so split this file holds no key itself
    "tests/conf.py": "key = 'AKIA" + "Q3EGVQ7T5T2YWL4D'",
    "server.pem": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "compose.yaml": "password: " + "correct-horse-battery",
    "k8s/api.yaml": "password: " + "correct-horse",
}
HARMLESS = {
    "tests/test_x.py": "password = 'made-up'",
    "k8s/mount.yaml": "secretName: broker",
    "notes.md": "the password is in a file",
}


def test_secrets_in_files_are_found(tmp_path: Path) -> None:
    """Keys by their form anywhere, passwords by what stands before them; but not those that tests make up."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    write(tmp_path, HARMLESS)
    done = run("leaks.py", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    write(tmp_path, SECRETS)
    done = run("leaks.py", str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert {name for name in SECRETS | HARMLESS if f"{name}:1:" in done.stdout} == {*SECRETS}, done.stdout


def write(folder: Path, texts: dict[str, str]) -> None:
    """Files by their names."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n")
