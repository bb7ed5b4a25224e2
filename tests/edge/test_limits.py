"""What one client may ask of the edge: over it, 429 as a problem that says when to return."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from asking import ask, connected, problem
from processes import Answer, Site

from bench import edge
from bench.edge import Edge

pytestmark = pytest.mark.farm


def asked(front: Edge, count: int, method: str, path: str, forged: str = "") -> list[Answer]:
    """So many requests at once, each with another address in X-Forwarded-For where `forged` is the beginning of one."""
    with ThreadPoolExecutor(8) as pool:
        headers = [{"X-Forwarded-For": f"{forged}{number}"} if forged else {} for number in range(count)]
        return list(pool.map(lambda said: ask(front, method, path, {}, said), headers))


def test_requests_are_limited_by_client(farm: Site) -> None:
    """Whatever it says of itself; probes are not, and what is refused never reaches the API."""
    slow = {"EDGE_REQUESTS_PER_S": "1", "EDGE_REQUESTS_BURST": "2"}
    with edge.before([int(farm.env["API_PORT"])], slow) as front:
        answers = asked(front, 20, "GET", "/api/cache/limited", forged="192.0.2.")
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) >= 10, Counter(answer.status for answer in answers)
        assert "too many" in problem(refused[0], 429)
        assert refused[0].headers["Retry-After"] == "1"
        assert refused[0].headers["Cache-Control"] == "no-store"
        assert {answer.status for answer in asked(front, 20, "GET", "/livez")} == {200}


def test_clients_behind_a_trusted_proxy_are_told_apart(farm: Site) -> None:
    """By the address that it names, which is what the log and the API have, too."""
    trusted = {"EDGE_REQUESTS_PER_S": "1", "EDGE_REQUESTS_BURST": "2", "EDGE_TRUSTED_PROXIES": "127.0.0.0/8"}
    with edge.before([int(farm.env["API_PORT"])], trusted) as front:
        answers = asked(front, 20, "GET", "/api/cache/limited", forged="1.2.3.4, 192.0.2.")
        assert {answer.status for answer in answers} == {401}  # by the API, which knows that they are elsewhere
        assert '"client":"192.0.2.19"' in front.log.read_text()
        assert '"client":"1.2.3.4"' not in front.log.read_text()


def test_submitting_has_a_limit_of_its_own(farm: Site) -> None:
    """Jobs that are refused leave room for looking at those that are there."""
    with edge.before([int(farm.env["API_PORT"])], {"EDGE_SUBMITS_PER_S": "1", "EDGE_SUBMITS_BURST": "2"}) as front:
        answers = asked(front, 20, "POST", "/api/jobs")
        assert Counter(answer.status for answer in answers)[429] >= 10
        assert {answer.status for answer in asked(front, 20, "GET", "/api/services")} == {200}


def test_connections_are_limited_by_client(farm: Site) -> None:
    """Of those that are asked something: one more is refused, until another ends."""
    with edge.before([int(farm.env["API_PORT"])], {"EDGE_CONNECTIONS": "3"}) as front:
        job = ask(front, "POST", "/api/jobs", {"input_text": "a", "options": {"max_tokens": 3000}}).json
        with ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(connected(front))
                client.sendall(f"GET {job['links']['events']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert client.recv(12) == b"HTTP/1.1 200"
            problem(ask(front, "GET", job["links"]["self"]), 429)
        farm.request("DELETE", job["links"]["cancel"])
