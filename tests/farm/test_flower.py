"""Flower as its settings have it: a real one beside a real broker, with events as workers send them."""

from __future__ import annotations

import base64
import json
import runpy
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery
from processes import PYTHON, Running, Site, asked, until

from echo_tasks.errors import EX_CONFIG
from echo_tasks.settings import current

pytestmark = pytest.mark.farm

SAVED_MS = "300"


@dataclass
class Flower:
    """A Flower that runs, and what it answers."""

    running: Running
    url: str
    login: str = ""

    def ask(self, path: str, *, login: str | None = None, method: str = "GET") -> tuple[int, bytes]:
        """Status and body; as the user that `login` names, if any."""
        user = self.login if login is None else login
        headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
        body = b"" if method == "POST" else None
        request = urllib.request.Request(self.url + path, body, headers, method=method)  # noqa: S310 - loopback
        return asked(request, timeout=10)

    def tasks(self) -> dict[str, Any]:
        status, body = self.ask("/api/tasks")
        assert status == 200, body
        return dict(json.loads(body))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker for all tests of this file: what passes there is kept by whoever listens, and by nobody else."""
    site = Site(tmp_path_factory.mktemp("events"))
    with site.server("broker"):
        yield site


@pytest.fixture
def own(events: Site, tmp_path: Path) -> Site:
    """A site of this test's own at that broker."""
    return Site(tmp_path, {"BROKER_PORT": events.env["BROKER_PORT"]})


@contextmanager
def flower(site: Site, prefix: str = "", login: str = "eve:hush", **settings: str) -> Iterator[Flower]:
    """A Flower with a user eve, unless the settings say otherwise, as it is started by hand."""
    env = {"FLOWER_BASIC_AUTH": login} | settings
    with site.run("flower", PYTHON, "-m", "celery", "-A", "echo_tasks", "flower", env=env) as running:
        found = Flower(running, f"http://127.0.0.1:{site.env['FLOWER_PORT']}{prefix}", login)
        until(lambda: found.ask("/healthcheck")[0] == 200 or running.process.poll() is not None, "Flower answers")
        assert running.process.poll() is None, running.text()
        yield found


def tell(site: Site, *events: Mapping[str, Any], worker: str = "worker1@test") -> None:
    """Send events as a worker does."""
    app = Celery(broker=site.broker_url, set_as_current=False)
    with app.connection() as connection, app.events.Dispatcher(connection, hostname=worker, enabled=True) as dispatcher:
        for fields in events:
            kind = {name: value for name, value in fields.items() if name != "kind"}
            dispatcher.send(fields["kind"], **kind)
    app.close()


def task(number: int) -> list[dict[str, Any]]:
    """A task that was received and has succeeded."""
    uuid = f"job{number}.memory"
    return [
        {"kind": "task-received", "uuid": uuid, "name": "echo.memory", "args": "()", "kwargs": "{}"},
        {"kind": "task-succeeded", "uuid": uuid, "runtime": 0.1, "result": "None"},
    ]


def seen(found: Flower, site: Site, number: int) -> None:
    """Tell of a task until Flower knows it: it may not have subscribed yet."""

    def told() -> bool:
        tell(site, *task(number))
        time.sleep(0.1)
        return found.tasks().get(f"job{number}.memory", {}).get("state") == "SUCCESS"

    until(told, f"Flower knows task {number}")


def test_without_users_the_api_is_refused_and_the_pages_are_shown(own: Site) -> None:
    """Whoever reaches Flower may look, and can end no worker."""
    with flower(own, login="") as found:
        assert found.ask("/workers")[0] == 200
        assert found.ask("/api/tasks")[0] == 401
        assert found.ask("/api/worker/shutdown/worker1@test", method="POST")[0] == 401


def test_basic_auth_lets_its_users_in_and_nobody_else(own: Site, tmp_path: Path) -> None:
    """Users of the file, on pages and API; and neither process list nor log has a password."""
    file = tmp_path / "users"
    file.write_text("eve:hush\n\nada:whi,sper\n")
    with flower(own, login="", FLOWER_BASIC_AUTH_FILE=str(file), LOG_LEVEL="DEBUG") as found:
        for path in ("/workers", "/api/tasks"):
            for login, status in (("eve:hush", 200), ("ada:whi,sper", 200), ("eve:whi,sper", 401), ("", 401)):
                assert found.ask(path, login=login)[0] == status, (path, login)
        assert found.ask("/api/tasks", login="evé:hush")[0] >= 400
        words = " ".join(psutil.Process(found.running.process.pid).cmdline())
    for secret in ("hush", "whi,sper"):
        assert secret not in words + found.running.text()


def test_a_secret_of_oauth_is_in_no_log_either(own: Site) -> None:
    """At DEBUG Flower would print its settings. Who has not logged in is sent to the provider."""
    oauth = {
        "FLOWER_AUTH": "me@example.org",
        "FLOWER_AUTH_PROVIDER": "flower.views.auth.GithubLoginHandler",
        "FLOWER_OAUTH2_KEY": "id",
        "FLOWER_OAUTH2_SECRET": "hush",
        "FLOWER_OAUTH2_REDIRECT_URI": "http://localhost/login",
    }
    with flower(own, login="", LOG_LEVEL="DEBUG", **oauth) as found:

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.build_opener(Stay).open(f"{found.url}/login", timeout=10)
        with caught.value as answer:
            assert answer.headers["Location"].startswith("https://github.com/login/oauth/authorize")
        assert found.ask("/api/tasks")[0] != 200
    assert "hush" not in found.running.text()


def test_read_only_shows_and_controls_nothing_under_its_prefix(own: Site) -> None:
    """Tasks are listed; ending workers, revoking and sending tasks is refused.

    A prefix, with slashes or without, is the beginning of all paths; pages link to themselves under it.
    """
    settings = {"FLOWER_READ_ONLY": "true", "FLOWER_URL_PREFIX": "/tools/flower/"}
    with flower(own, prefix="/tools/flower", **settings) as found:
        seen(found, own, 1)
        for path in ("worker/shutdown/worker1@test", "task/revoke/job1.memory", "task/send-task/echo.memory"):
            assert found.ask(f"/api/{path}", method="POST")[0] == 403, path
        status, body = found.ask("/workers")
        assert status == 200
        assert b"/tools/flower/static/" in body
        bare = Flower(found.running, found.url.removesuffix("/tools/flower"), found.login)
        assert bare.ask("/workers")[0] == 404


def test_history_survives_a_stop_and_a_kill_and_is_put_aside_when_damaged(own: Site) -> None:
    """SIGTERM saves; after SIGKILL what was saved an interval ago is there again. Nobody else may read it.

    A damaged one is kept for whoever wants to know, and Flower starts with none. What is controlled is passed on: that
    it is refused elsewhere is for the setting.
    """
    with flower(own, FLOWER_STATE_SAVE_INTERVAL="0") as found:
        seen(found, own, 1)
        assert found.ask("/api/task/revoke/job1.memory", method="POST")[0] == 200
        assert found.running.stop(signal.SIGTERM) == 0
    folder = own.folder / "var" / "flower"
    assert folder.stat().st_mode & 0o077 == 0
    with flower(own, FLOWER_STATE_SAVE_INTERVAL=SAVED_MS) as found:
        assert list(found.tasks()) == ["job1.memory"]
        seen(found, own, 2)
        saved_at = time.time()
        until(lambda: max(file.stat().st_mtime for file in folder.iterdir()) > saved_at + 0.1, "it is saved")
        found.running.stop(signal.SIGKILL)
    with flower(own) as found:
        assert sorted(found.tasks()) == ["job1.memory", "job2.memory"]
    for file in folder.iterdir():
        file.write_bytes(b"\x00damaged" * 100)
    with flower(own) as found:
        assert found.tasks() == {}
    assert [file for file in folder.iterdir() if file.name.endswith(".corrupt")]


def test_it_keeps_what_it_may_and_forgets_the_rest(own: Site) -> None:
    """Of tasks the latest; nothing on disk without persistence, not even the folder.

    A worker that says that it goes is listed as offline, and then no more; its metrics go, too.
    """
    settings = {"FLOWER_PERSISTENT": "false", "FLOWER_MAX_TASKS": "2", "FLOWER_PURGE_OFFLINE_WORKERS": "2"}
    online = {"kind": "worker-online", "sw_ident": "py-celery", "freq": 2.0}
    with flower(own, **settings) as found:
        for number in (1, 2, 3):
            seen(found, own, number)
        assert sorted(found.tasks()) == ["job2.memory", "job3.memory"]

        def lists(worker: str) -> bool:
            return worker.encode() in found.ask("/workers?json=1")[1]

        def told() -> bool:
            tell(own, online, worker="gone@test")
            time.sleep(0.1)
            return lists("gone@test")

        until(told, "Flower lists the worker")
        tell(own, {"kind": "worker-offline", "sw_ident": "py-celery"}, worker="gone@test")
        assert b"gone@test" in found.ask("/metrics")[1]
        until(lambda: not lists("gone@test"), "Flower has forgotten it", 15)
        until(lambda: b"gone@test" not in found.ask("/metrics")[1], "its metrics are gone, too", 15)
    assert not (own.folder / "var" / "flower").exists()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"FLOWER_PORT": "many"}, "FLOWER_PORT='many' is not allowed"),
        ({"FLOWER_BASIC_AUTH": "hush"}, "FLOWER_BASIC_AUTH: number 1 is not user:password"),
        ({"FLOWER_BASIC_AUTH_FILE": "/no/such"}, "FLOWER_BASIC_AUTH_FILE=/no/such: No such file or directory"),
        ({"FLOWER_DB": "/proc/no/history"}, "Flower keeps what it knows in /proc/no/history: No such file"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], settings: dict[str, str], line: str
) -> None:
    """Status 78; no traceback and no secret."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("echo_tasks.settings.current", current.__wrapped__)  # which keeps nothing for later
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("echo_tasks.flowerconfig")
    assert ended.value.code == EX_CONFIG
    (told,) = capfd.readouterr().err.splitlines()
    assert told.startswith(f"echo: {line}")
    assert "hush" not in told


def test_a_refusal_is_the_end(tmp_path: Path) -> None:
    """By the status it knows that the next start would end the same; Flower says no more than the line."""
    site = Site(tmp_path, {"FLOWER_BASIC_AUTH": "hush"})
    with site.supervised("flower", PYTHON, "-m", "celery", "-A", "echo_tasks", "flower") as running:
        assert until(lambda: running.process.poll(), "it ends") == EX_CONFIG
    (told,) = running.text().splitlines()
    assert told.startswith("echo: FLOWER_BASIC_AUTH: number 1 is not user:password")
    assert "hush" not in told
