"""Who a request comes from: proxies that are trusted are believed, and nobody else."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from processes import Site
from werkzeug.test import Client

from echo_api import create_app
from echo_api.proxies import TrustedProxies
from echo_tasks.errors import SettingsError
from echo_tasks.settings import load


@pytest.fixture
def told() -> Client:
    """An application that tells what it takes its requests for, behind the proxies of 10.0.0.0/8 and fd00::/8."""
    app = Flask("told")

    @app.get("/")
    def tell() -> Any:
        said = [name for name, _ in request.headers if name.startswith("X-Forwarded")]
        said = [name for name in said if name != "X-Forwarded-For"]
        told = {"client": request.remote_addr, "scheme": request.scheme, "host": request.host, "said": said}
        passed_on = [request.headers.get(name) for name in ("X-Real-IP", "Forwarded")]
        return told | {"route": list(request.access_route), "passed on": passed_on}

    return Client(TrustedProxies(app, [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]))


def asked(told: Client, peer: str, **said: str) -> tuple[str, str, str]:
    """Client, scheme and host of a request that comes from this address with these headers."""
    headers = {name.replace("_", "-"): value for name, value in said.items()}
    answer = told.get("/", headers=headers, environ_base={"REMOTE_ADDR": peer}).json
    assert answer is not None
    assert answer["said"] == []
    return answer["client"], answer["scheme"], answer["host"]


FORGED = {"X_Forwarded_For": "1.2.3.4", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.example"}


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::9", "127.0.0.1", "11.0.0.1", "::ffff:11.0.0.1"])
def test_a_stranger_is_not_believed(told: Client, peer: str) -> None:
    """Neither of its client nor of its scheme nor of its host, and what it said is gone."""
    forged = FORGED | {"X_Forwarded_Prefix": "/x", "X_Forwarded_Ssl": "on"}
    assert asked(told, peer, **forged) == (peer, "http", "localhost")


def test_that_a_request_was_passed_on_stays_to_be_seen(told: Client) -> None:
    """Whoever takes loopback for this machine's own user must know that somebody else stands behind it."""
    for peer in ("127.0.0.1", "10.1.2.3"):
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
        answer = told.get("/", headers=headers, environ_base={"REMOTE_ADDR": peer}).json
        assert answer is not None
        assert answer["route"] == ["203.0.113.9"]
        assert answer["passed on"] == ["203.0.113.9", "for=203.0.113.9"]


@pytest.mark.parametrize("peer", ["10.1.2.3", "fd00::1", "::ffff:10.1.2.3"])
def test_a_trusted_proxy_is_believed(told: Client, peer: str) -> None:
    """Of all three, at once."""
    assert asked(told, peer, **FORGED) == ("1.2.3.4", "https", "evil.example")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the client wrote the first
        ("1.2.3.4, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.7.7.7, 203.0.113.9", "203.0.113.9"),  # it may write our own address, too
        ("10.7.7.7, 10.8.8.8", "10.7.7.7"),
        ("203.0.113.9:1234", "203.0.113.9"),
        ("[2001:db8::9]:1234", "2001:db8::9"),
        ("2001:db8::9", "2001:db8::9"),
        ("1.2.3.4, unknown", "10.1.2.3"),
        ("1.2.3.4, unknown, 10.9.9.9", "10.9.9.9"),
        ("1.2.3.4, <script>", "10.1.2.3"),
        ("", "10.1.2.3"),
        (",,", "10.1.2.3"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy(told: Client, chain: str, client: str) -> None:
    """What stands before it anybody may have written."""
    assert asked(told, "10.1.2.3", X_Forwarded_For=chain)[0] == client


@pytest.mark.parametrize("host", ["", "a b", "a/b", "evil.example:port", "a,", "a\tb"])
def test_a_host_that_is_none_is_not_taken(told: Client, host: str) -> None:
    """Even from a proxy."""
    assert asked(told, "10.1.2.3", X_Forwarded_Host=host)[2] == "localhost"


def test_a_scheme_that_is_none_is_not_taken(told: Client) -> None:
    """Even from a proxy; of several the nearest counts."""
    assert asked(told, "10.1.2.3", X_Forwarded_Proto="javascript")[1] == "http"
    assert asked(told, "10.1.2.3", X_Forwarded_Proto="http, https")[1] == "https"


def test_the_application_has_the_settings_proxies(tmp_path: Path) -> None:
    """By default there are none; what is no network does not start."""
    for value, client in (("", "10.1.2.3"), ("10.1.0.0/16, fd00::/8", "1.2.3.4")):
        app = create_app(load({"ECHO_VAR": str(tmp_path), "TRUSTED_PROXIES": value}))
        seen: list[str | None] = []
        app.before_request(lambda seen=seen: seen.append(request.remote_addr))
        app.test_client().get(
            "/livez", environ_base={"REMOTE_ADDR": "10.1.2.3"}, headers={"X-Forwarded-For": "1.2.3.4"}
        )
        assert seen == [client]
    for wrong in ("10.0.0.0/33", "10.0.0.1/8", "nginx", "*"):
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
            load({"TRUSTED_PROXIES": wrong})


def test_the_server_believes_nobody_by_itself(site: Site) -> None:
    """gunicorn's own trust, which loopback has by default, is off, whatever its environment says."""
    code = "from gunicorn.app.wsgiapp import WSGIApplication as A; a = A(); print(a.cfg.forwarded_allow_ips)"
    command = ("python", "-c", code, "-c", "python:echo_api.server", "echo_api:create_app()")
    with site.run("gunicorn", *command, env={"FORWARDED_ALLOW_IPS": "*"}) as running:
        running.process.wait(30)
        assert running.text().split()[-1] == "[]", running.text()
