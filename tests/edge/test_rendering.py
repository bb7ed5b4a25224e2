"""The edge's configuration: each form of it is one that nginx takes, and what is no setting does not start."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from bench.edge import certified
from bench.site import ROOT

FOLDER = ROOT / "docker" / "nginx"

RENDERINGS = {
    "alone": {},
    "several APIs": {"EDGE_API": "10.0.0.1:8000 10.0.0.2:8000 [fd00::1]:8000"},
    "by name": {"EDGE_API": "localhost:8000", "EDGE_RESOLVER": "127.0.0.11"},
    "named": {"EDGE_SERVER_NAME": "echo.example.org *.echo.example.org", "EDGE_PUBLIC_PORT": "8443"},
    "behind proxies": {"EDGE_TRUSTED_PROXIES": "10.0.0.0/8 fd00::/8 192.0.2.7"},
    "with pages": {"EDGE_FLOWER": "flower:5555", "EDGE_GRAFANA": "10.0.0.9:3000", "EDGE_RESOLVER": "10.96.0.10"},
    "limits": {"EDGE_REQUESTS_PER_S": "7", "EDGE_REQUESTS_BURST": "1", "EDGE_CONNECTIONS": "3", "EDGE_WORKERS": "2"},
    "sizes": {"EDGE_BODY_BYTES": "4096", "EDGE_CLIENT_TIMEOUT_S": "5", "SERVICE_TIMEOUT": "3600", "EDGE_HSTS_S": "0"},
    "one address": {"EDGE_ADDRESS": "127.0.0.1"},
}


def render(folder: Path, settings: dict[str, str], path: str = "") -> subprocess.CompletedProcess[str]:
    certificate, key = certified(folder)
    env = {"PATH": path + os.environ["PATH"], "EDGE_API": "127.0.0.1:8000"}
    env |= {"EDGE_CERT": str(certificate), "EDGE_KEY": str(key), **settings}
    command = ["sh", str(FOLDER / "render.sh"), str(folder / "edge")]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def rendered(folder: Path) -> str:
    return "\n".join(part.read_text() for part in sorted((folder / "edge" / "rendered").iterdir()))


@pytest.mark.parametrize("settings", RENDERINGS.values(), ids=list(RENDERINGS))
def test_nginx_takes_every_form(tmp_path: Path, settings: dict[str, str]) -> None:
    """Without a word of warning but of this machine's limit of open files."""
    done = render(tmp_path, settings)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["nginx", "-p", str(tmp_path / "edge"), "-c", "nginx.conf", "-e", "stderr", "-t"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "[" in line and "open file resource limit" not in line]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_API", "api"),
        ("EDGE_API", "api:8000; } evil {"),
        ("EDGE_API", "api:8000\nevil"),
        ("EDGE_RESOLVER", "dns.example"),
        ("EDGE_SERVER_NAME", "a;b"),
        ("EDGE_CERT", "relative.pem"),
        ("EDGE_KEY", "/a key"),
        ("EDGE_TRUSTED_PROXIES", "everybody"),
        ("EDGE_REQUESTS_PER_S", "many"),
        ("EDGE_HTTPS_PORT", "-1"),
        ("SERVICE_TIMEOUT", "$host"),
    ],
)
def test_what_is_no_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    """And does not start, with the status of what is misconfigured."""
    done = render(tmp_path, {name: value})
    assert done.returncode == 78
    assert done.stderr.startswith(f"edge: {name}"), done.stderr


def test_it_is_rendered_over_what_is_there(tmp_path: Path) -> None:
    """So that a reload takes changed files: the edge need not stop for them."""
    assert render(tmp_path, {"EDGE_REQUESTS_PER_S": "7"}).returncode == 0
    (tmp_path / "edge" / "nginx.conf").write_text("of yesterday")
    assert render(tmp_path, {"EDGE_REQUESTS_PER_S": "8"}).returncode == 0
    assert "rate=8r/s" in rendered(tmp_path)
    assert (tmp_path / "edge" / "nginx.conf").read_text() == (FOLDER / "nginx.conf").read_text()
    assert not (tmp_path / "edge" / "parts" / "parts").exists()


VERSIONS = [("1.22.1", "ssl http2", False), ("1.26.3", "http2 on", False), ("1.28.0", "http2 on", True)]


@pytest.mark.parametrize(("version", "http2", "resolves"), VERSIONS)
def test_each_version_gets_what_it_knows(tmp_path: Path, version: str, http2: str, resolves: bool) -> None:
    """`http2 on` since 1.25.1, names that are looked up again since 1.27.3; nginx itself says what it is."""
    program = tmp_path / "nginx"
    program.write_text(f"#!/bin/sh\necho 'nginx version: nginx/{version}' >&2\n")
    program.chmod(0o755)
    settings = {"EDGE_API": "api:8000 10.0.0.1:8000", "EDGE_RESOLVER": "127.0.0.11"}
    assert render(tmp_path, settings, path=f"{tmp_path}:").returncode == 0
    text = rendered(tmp_path)
    assert http2 in text
    assert ("server api:8000 max_fails=3 fail_timeout=10s resolve;" in text) is resolves
    assert "server 10.0.0.1:8000 max_fails=3 fail_timeout=10s;" in text


def test_no_location_has_headers_of_its_own() -> None:
    """One `add_header` in a location would drop all those of its server: there are some in one file, and no others."""
    having = [path.name for path in FOLDER.rglob("*.*") if re.search(r"^\s*add_header", path.read_text(), re.M)]
    assert having == ["headers.conf"]


def test_every_setting_is_documented() -> None:
    """The table of docker/nginx/README.md and render.sh name the same, with the same defaults."""
    text = (FOLDER / "render.sh").read_text()
    named = dict(re.findall(r"^([A-Z_0-9]+)\|([^|]*)\|", text, re.M))
    named["EDGE_PRIVATE"] = re.search(r"^private='(.*)'$", text, re.M)[1]  # type: ignore[index]
    table = re.findall(r"^\| `([A-Z_0-9]+)` \| (?:`(.*?)`)? \| \S", (FOLDER / "README.md").read_text(), re.M)
    assert dict(table) == named
