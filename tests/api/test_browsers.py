"""What browsers are told, and what a real one makes of it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from callers import ADMIN_KEY
from processes import Site
from wire import exchange, head

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OFFLINE = ("quic", "component-update", "sync", "background-networking")

PLACES = {
    "an answer": ("/livez", 200),
    "no such path": ("/none", 404),
    "a wrong method": ("/api/jobs", 405),
    "metrics": ("/metrics", 200),
    "the document": ("/openapi/openapi.json", 200),
    "the page": ("/openapi/swagger", 200),
    "its files": ("/openapi/swagger/js/swagger-ui-bundle.js", 200),
}


@pytest.mark.parametrize(("place", "status"), PLACES.values(), ids=PLACES)
def test_every_answer_tells_browsers_to_do_nothing(guarded: Site, place: str, status: int) -> None:
    """No guessing, no framing, no word of where a page came from; only a page of ours runs its own scripts."""
    answer = guarded.get(place)
    assert answer.status == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert ("script-src" in policy) == answer.headers["Content-Type"].startswith("text/html")
    assert "script-src 'self' 'unsafe-inline'" not in policy
    assert answer.headers["Cache-Control"]


def test_what_is_not_to_be_kept_says_so(guarded: Site) -> None:
    """Where nothing else is said: jobs and errors are nobody's to keep."""
    accepted = guarded.post("/api/jobs", {"input_text": "a"})
    job = guarded.get(accepted.headers["Location"])
    unknown = guarded.get("/api/jobs/" + "0" * 32)
    assert {answer.headers["Cache-Control"] for answer in (accepted, job, unknown)} == {"no-store"}


def test_only_who_came_over_tls_is_told_to_come_so_again(guarded: Site) -> None:
    """By the scheme that a proxy on this machine tells of."""
    assert "Strict-Transport-Security" not in exchange(guarded, head("/livez")).headers
    secure = exchange(guarded, head("/livez", "X-Forwarded-Proto: https"))
    assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"


def seen(url: str, profile: Path) -> tuple[str, str]:
    """What a browser makes of a page, once it has been idle for a while, and what it complains of."""
    assert CHROMIUM is not None
    options = [*(f"--disable-{name}" for name in OFFLINE), "--no-first-run", "--no-sandbox", "--disable-gpu"]
    options += ["--headless", "--enable-logging=stderr", "--virtual-time-budget=15000", f"--user-data-dir={profile}"]
    found = subprocess.run([CHROMIUM, *options, "--dump-dom", url], capture_output=True, text=True, timeout=110)
    return found.stdout, "\n".join(line for line in found.stderr.splitlines() if "CONSOLE" in line)


in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.mark.long
@in_a_browser
def test_the_openapi_page_works_under_its_policy(guarded: Site, tmp_path: Path) -> None:
    """It draws every group of routes, and the browser refuses nothing of it."""
    page, complaints = seen(f"{guarded.api}/openapi/swagger", tmp_path)
    assert 'id="operations-jobs-' in page or "opblock-tag" in page
    assert "/api/cognitive/process" in page
    assert "Content Security Policy" not in complaints
    assert "Refused" not in complaints


PAGE = """<!doctype html><pre id="said">waiting</pre><script>
const api = "{api}", said = document.getElementById("said");
(async () => {{
  const headers = {{"Authorization": "Bearer {key}", "Content-Type": "application/json"}};
  const job = await fetch(api + "/api/jobs", {{method: "POST", headers, body: '{{"input_text": "a"}}'}});
  const place = api + job.headers.get("Location");
  const kinds = new Promise((resolve, reject) => {{
    const events = new EventSource(place + "/events");
    events.addEventListener("status", event => {{ events.close(); resolve(event.data); }});
    events.onerror = reject;
  }});
  const told = await kinds;
  const gone = await fetch(place, {{method: "DELETE", headers}});
  said.textContent = [job.status, told, (await gone.json()).status].join(" ");
}})().catch(error => {{ said.textContent = "kept out: " + error; }});
</script>"""


@contextmanager
def pages(guarded: Site, folder: Path) -> Iterator[str]:
    """A web server of somebody else's, with a page that uses the API."""
    (folder / "page.html").write_text(PAGE.format(api=guarded.api, key=ADMIN_KEY))
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", int(guarded.env["PAGES_PORT"])), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f":{server.server_port}/page.html"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Not a line for each request."""


@pytest.mark.long
@in_a_browser
def test_a_page_of_another_origin_uses_the_api(guarded: Site, tmp_path: Path) -> None:
    """On the list, it submits with a key's header, follows, and cancels; the same page elsewhere is kept out."""
    with pages(guarded, tmp_path) as place:
        page, _ = seen(f"http://localhost{place}", tmp_path / "one")
        assert '202 {"status":"queued"} cancelled' in page
        page, complaints = seen(f"http://127.0.0.1{place}", tmp_path / "two")
        assert "kept out: TypeError: Failed to fetch" in page
        assert "CORS policy" in complaints
