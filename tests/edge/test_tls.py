"""TLS at the edge: which versions, HTTP/2, and the way there."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import warnings

import pytest
from asking import ask, problem

from bench.edge import Edge

pytestmark = pytest.mark.farm


def shaken(front: Edge, version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> tuple[str, str]:
    """Version and cipher that a client of this version agrees on with the edge. Raises SSLError."""
    context = front.tls()
    context.set_ciphers(ciphers)
    with warnings.catch_warnings(action="ignore"):  # that the old ones are old
        context.minimum_version = version
        context.maximum_version = version
    raw = socket.create_connection(("127.0.0.1", front.https_port), timeout=10)
    with context.wrap_socket(raw, server_hostname="localhost") as agreed:
        return str(agreed.version()), agreed.cipher()[0]  # type: ignore[index]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused_by_the_edge(front: Edge, version: ssl.TLSVersion) -> None:
    """It is the edge that says so, by the alert for just that."""
    with pytest.raises(ssl.SSLError, match="TLSV1_ALERT_PROTOCOL_VERSION"):
        shaken(front, version)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_versions_are_taken(front: Edge, version: ssl.TLSVersion) -> None:
    """With forward secrecy and authenticated encryption."""
    agreed, cipher = shaken(front, version)
    assert agreed == version.name.replace("_", ".")
    assert "GCM" in cipher or "POLY1305" in cipher


@pytest.mark.parametrize("ciphers", ["AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "NULL"])
def test_weak_ciphers_are_refused(front: Edge, ciphers: str) -> None:
    """Those without forward secrecy, without authenticated encryption, and without any."""
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        shaken(front, ssl.TLSVersion.TLSv1_2, f"{ciphers}:@SECLEVEL=0")


@pytest.mark.parametrize(("option", "spoken"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_clients_choose_http_2(front: Edge, option: str, spoken: str) -> None:
    """By ALPN; HTTP/1.1 is there for others."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    url = f"https://localhost:{front.https_port}/livez"
    told = ["-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert", str(front.certificate)]
    done = subprocess.run(["curl", option, *told, url], capture_output=True, text=True, timeout=20)
    assert done.stdout == f"{spoken} 200", done


def test_plain_http_leads_to_tls(front: Edge) -> None:
    """By 308, which keeps method and body; a probe that knows no TLS is answered nevertheless."""
    for method in ("GET", "POST"):
        answer = ask(front, method, "/api/jobs?a=%20b", is_plain=True)
        assert answer.status == 308
        assert answer.headers["Location"] == f"https://127.0.0.1:{front.https_port}/api/jobs?a=%20b"
    assert ask(front, "GET", "/livez", is_plain=True).json == {"status": "ok"}


def test_browsers_are_told_to_come_by_tls_again(front: Edge) -> None:
    """Only over TLS, once, with errors as well: of the API's, of the edge's, and of what the API says nothing of."""
    for path in ("/livez", "/api/jobs/" + "1" * 32, "/none"):
        assert ask(front, "GET", path).headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert "," not in ask(front, "GET", path).headers["Strict-Transport-Security"]
        assert ask(front, "GET", path).headers["X-Content-Type-Options"] == "nosniff"
        assert "Strict-Transport-Security" not in ask(front, "GET", path, is_plain=True).headers


def test_plain_http_on_the_port_of_tls_leads_to_tls(front: Edge) -> None:
    """And is no fault."""
    with socket.create_connection(("127.0.0.1", front.https_port), timeout=10) as raw:
        raw.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 308 ")


def test_nothing_else_is_there(front: Edge) -> None:
    """A problem, as everything that the edge says."""
    assert "nothing here" in problem(ask(front, "GET", "/"), 404)
