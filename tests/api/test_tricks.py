"""Requests that no client library would send, over real sockets: refused, or served as what they are."""

from __future__ import annotations

import gzip
import json
import uuid

import leaks
import pytest
from callers import ADMIN_KEY
from processes import Site
from wire import Reply, connected, exchange, head, reply

BODY = b'{"input_text": "a"}'
JSON = "Content-Type: application/json"


def posted(body: bytes, *headers: str, target: str = "/api/jobs") -> bytes:
    """A POST with a body of JSON."""
    return head(target, JSON, f"Content-Length: {len(body)}", *headers, method="POST") + body


def is_clean(answer: Reply) -> bool:
    """Whether an answer has what every one has, and nothing that none may have."""
    assert leaks.found_in(answer.text) == []
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert not any(letter.isdigit() for letter in answer.headers.get("Server", ""))
    return True


LINES = {
    "a NUL in the target": (head("/api/jobs/\0"), 400),
    "bytes beyond ASCII in the target": (head("/api/jobs/\xff"), 400),
    "an encoded NUL": (head("/api/jobs/%00"), 404),
    "encoded dots": (head("/api/jobs/..%2f..%2f..%2fetc%2fpasswd"), 404),
    "dots": (head("/../../etc/passwd"), 404),
    "dots from a page's files": (head("/openapi/swagger/js/..%2f..%2f..%2f__init__"), 404),
    "overlong UTF-8": (head("/api/jobs/%c0%ae%c0%ae%c0%af"), 404),
    "half an escape": (head("/api/%zz"), 404),
    "double slashes": (head("//api//jobs//"), 404),
    "a target that begins with a host": (head("//evil.example/%2e%2e"), 404),
    "an absolute target": (head("http://evil.example/livez"), 200),
    "a target too long": (head("/" + "a" * 5000), 414),
    "no end of line": (b"A" * 100_000, 414),
    "HTTP/0.9": (b"GET /livez\r\n", 400),
    "HTTP/2, unasked": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3.0": (b"GET /livez HTTP/3.0\r\nHost: localhost\r\n\r\n", 400),
    "TRACE": (head("/livez", method="TRACE"), 405),
    "a method in small letters": (head("/livez", method="get"), 400),
    "CONNECT": (head("localhost:443", method="CONNECT"), 404),
    "an event's id beyond 64 bits": (head(f"/api/scaling/cognitive-service/events?before={'9' * 20}-1"), 422),
    "a page beyond all pages": (head(f"/api/dead-letters?offset={'9' * 30}"), 422),
    "OPTIONS of all": (head("*", method="OPTIONS"), 404),
}

HEADERS = {
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "two hosts": (head("/livez", "Host: a", "Host: b"), 400),
    "a host that cannot be": (head("/livez", "Host: a b"), 400),
    "markup for a host": (head("/livez", 'Host: "><script>'), 400),
    "a folded header": (head("/livez", "X-A: b\r\n c"), 400),
    "200 headers": (head("/livez", *(f"X-{number}: a" for number in range(200))), 431),
    "a large header": (head("/livez", "X-A: " + "a" * 10_000), 431),
    "another method in a header": (head("/api/jobs", "X-HTTP-Method-Override: DELETE"), 405),
    "another script name": (head("/livez", "SCRIPT_NAME: /elsewhere"), 200),
    "schemes that differ": (head("/livez", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"), 200),
    "an expectation that nobody meets": (head("/api/jobs", "Expect: 200-ok", method="POST"), 417),
    "a range of what has none": (head("/livez", "Range: bytes=0-1"), 200),
    "ranges without end": (head("/openapi/swagger/css/swagger-ui.css", "Range: bytes=0-0,5-9999999999999999"), 416),
    "a range that is none": (head("/openapi/swagger/css/swagger-ui.css", "Range: bytes=abc"), 416),
    "an upgrade to HTTP/2": (head("/livez", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), 200),
    "an upgrade to WebSocket": (head("/livez", "Connection: Upgrade", "Upgrade: websocket"), 400),
    "a wait without end": (posted(BODY, "Prefer: wait=99999999999999999999, wait=-1"), 202),
    "a key that is none": (posted(BODY, "Idempotency-Key: \xff\xfe"), 422),
}

CHUNKED = "Transfer-Encoding: chunked"

BODIES = {
    "both lengths": (head("/api/jobs", "Content-Length: 5", CHUNKED, method="POST") + b"0\r\n\r\n", 400),
    "two lengths": (head("/api/jobs", "Content-Length: 5", "Content-Length: 6", method="POST") + b"abcdef", 400),
    "one length twice": (head("/api/jobs", "Content-Length: 2", "Content-Length: 2", method="POST") + b"{}", 400),
    "a negative length": (head("/api/jobs", "Content-Length: -5", method="POST"), 400),
    "a length beyond all": (head("/api/jobs", JSON, f"Content-Length: {'9' * 20}", method="POST") + b"a", 413),
    "another transfer coding": (head("/api/jobs", JSON, "Transfer-Encoding: x", method="POST"), 400),
    "a chunk that is none": (head("/api/jobs", JSON, CHUNKED, method="POST") + b"zz\r\n", 400),
    "two million spaces": (posted(b" " * 2_000_000), 413),
    "two million spaces in chunks": (
        head("/api/jobs", JSON, CHUNKED, method="POST") + b"1E8480\r\n" + b" " * 2_000_000 + b"\r\n0\r\n\r\n",
        413,
    ),
    "compressed": (posted(gzip.compress(BODY), "Content-Encoding: gzip"), 415),
    "UTF-16": (posted(BODY.decode().encode("utf-16")), 400),
    "a byte order mark": (posted(b"\xef\xbb\xbf" + BODY), 202),
    "an odd charset": (head("/api/jobs", f"{JSON}; charset=utf-7", "Content-Length: 19", method="POST") + BODY, 202),
    "a field twice: the last counts": (posted(b'{"input_text": "", "input_text": "b"}'), 202),
    "a number of 5,000 digits": (posted(b'{"input_text": "a", "priority": ' + b"9" * 5000 + b"}"), 400),
    "a number beyond all": (posted(b'{"input_text": "a", "priority": 1e999}'), 422),
    "900 objects in one another": (posted(b'{"options": ' + b'{"a":' * 900 + b"1" + b"}" * 901), 422),
    "half a surrogate pair": (posted(b'{"input_text": "\\ud800"}'), 422),
    "a body where none is asked for": (head("/livez", CHUNKED) + b"zz\r\n", 200),
}


ALL = LINES | HEADERS | BODIES


@pytest.mark.parametrize(("sent", "status"), ALL.values(), ids=ALL)
def test_a_trick_is_refused_or_served_as_what_it_is(guarded: Site, sent: bytes, status: int) -> None:
    """By its status, with the headers of every answer and nothing of the inside."""
    answer = exchange(guarded, sent)
    assert answer.status == status
    assert is_clean(answer)


def test_the_host_that_a_client_names_is_repeated_nowhere(guarded: Site) -> None:
    """Neither where the answer sends it to, nor in links: they have no host."""
    moved = exchange(guarded, head("/openapi", "Host: evil.example", "X-Forwarded-Host: evil.example"))
    assert (moved.status, moved.headers["Location"]) == (308, "/openapi/")
    key = f"X-API-Key: {ADMIN_KEY}"
    accepted = exchange(guarded, posted(BODY, "Host: evil.example", "X-Forwarded-Host: evil.example", key))
    assert accepted.status == 202
    assert "evil" not in moved.text + accepted.text


@pytest.mark.parametrize("depth", [99, 101, 300, 800, 950, 980])
def test_what_is_kept_can_be_read(guarded: Site, depth: int) -> None:
    """However deep a value is nested: it is refused, or comes back whole."""
    place, value = f"/api/cache/{uuid.uuid4().hex}", b"[" * depth + b"]" * depth
    kept = exchange(guarded, posted(b'{"value": ' + value + b', "tags": []}', target=place))
    assert kept.status == (200 if depth <= 100 else kept.status)
    assert kept.status in {200, 400, 422}
    read = exchange(guarded, head(place))
    assert read.status == (200 if kept.status == 200 else 404)
    assert kept.status != 200 or json.loads(read.body)["value"] == json.loads(value)


def test_a_connection_goes_on_after_what_was_refused(guarded: Site) -> None:
    """A body that nobody wanted is no part of the next request, and an expected 100 comes before the answer."""
    with connected(guarded) as client:
        client.sendall(posted(b" " * 2_000_000))
        assert reply(client).status == 413
        client.sendall(head("/livez"))
        assert reply(client).status == 200
        client.sendall(head("/api/jobs", JSON, "Expect: 100-continue", "Content-Length: 19", method="POST"))
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(BODY)
        assert reply(client).status == 202
