"""Flower as its settings have it: a real one beside a real broker, with events as workers send them."""

from __future__ import annotations

import base64
import json
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


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    """A site of this test's own, with a broker."""
    site = Site(tmp_path)
    with site.server("broker"):
        yield site


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


def test_read_only_shows_and_controls_nothing(own: Site) -> None:
    """Tasks are listed; ending workers, revoking and sending tasks is refused."""
    with flower(own, FLOWER_READ_ONLY="true") as found:
        seen(found, own, 1)
        for path in ("worker/shutdown/worker1@test", "task/revoke/job1.memory", "task/send-task/echo.memory"):
            assert found.ask(f"/api/{path}", method="POST")[0] == 403, path


def test_not_read_only_passes_what_is_controlled_on(own: Site) -> None:
    """The same call is answered otherwise: the refusal above is of the setting."""
    with flower(own) as found:
        assert found.ask("/api/task/revoke/job1.memory", method="POST")[0] == 200


def test_a_prefix_is_the_beginning_of_all_paths(own: Site) -> None:
    """With slashes or without; pages link to themselves under it."""
    with flower(own, prefix="/tools/flower", FLOWER_URL_PREFIX="/tools/flower/") as found:
        status, body = found.ask("/workers")
        assert status == 200
        assert b"/tools/flower/static/" in body
        assert found.ask("/api/tasks")[0] == 200
        bare = Flower(found.running, found.url.removesuffix("/tools/flower"), found.login)
        assert bare.ask("/workers")[0] == 404


def test_history_survives_a_stop_and_a_kill_after_it_was_saved(own: Site) -> None:
    """SIGTERM saves; after SIGKILL what was saved an interval ago is there again. Nobody else may read it."""
    with flower(own, FLOWER_STATE_SAVE_INTERVAL="0") as found:
        seen(found, own, 1)
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


def test_a_damaged_history_is_put_aside(own: Site) -> None:
    """Flower starts, with none, and what is damaged is kept for whoever wants to know."""
    with flower(own) as found:
        seen(found, own, 1)
    folder = own.folder / "var" / "flower"
    for file in folder.iterdir():
        file.write_bytes(b"\x00damaged" * 100)
    with flower(own) as found:
        assert found.tasks() == {}
    assert [file for file in folder.iterdir() if file.name.endswith(".corrupt")]


def test_without_persistence_nothing_is_written(own: Site) -> None:
    """Nor is the folder made."""
    with flower(own, FLOWER_PERSISTENT="false") as found:
        seen(found, own, 1)
    assert not (own.folder / "var" / "flower").exists()


def test_it_remembers_as_many_tasks_as_it_may(own: Site) -> None:
    """The latest of them."""
    with flower(own, FLOWER_MAX_TASKS="2") as found:
        for number in (1, 2, 3):
            seen(found, own, number)
        assert sorted(found.tasks()) == ["job2.memory", "job3.memory"]


def test_a_worker_that_is_gone_is_forgotten_after_a_while(own: Site) -> None:
    """One that says that it goes is listed as offline, and then no more; its metrics go, too."""
    online = {"kind": "worker-online", "sw_ident": "py-celery", "freq": 2.0}
    with flower(own, FLOWER_PURGE_OFFLINE_WORKERS="2") as found:

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


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"FLOWER_PORT": "many"}, "FLOWER_PORT='many' is not allowed"),
        ({"FLOWER_BASIC_AUTH": "hush"}, "FLOWER_BASIC_AUTH: number 1 is not user:password"),
        ({"FLOWER_BASIC_AUTH_FILE": "/no/such"}, "FLOWER_BASIC_AUTH_FILE=/no/such: No such file or directory"),
        ({"FLOWER_DB": "/proc/no/history"}, "Flower keeps what it knows in /proc/no/history: No such file"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path: Path, settings: dict[str, str], line: str) -> None:
    """Status 78, by which its keeper knows that the next start would end the same; no traceback and no secret."""
    site = Site(tmp_path, settings)
    keeper = (PYTHON, "-m", "echo_tasks.local.keep", "flower", PYTHON, "-m", "celery", "-A", "echo_tasks", "flower")
    with site.run("flower", *keeper) as running:
        assert until(lambda: running.process.poll(), "it ends") == 78
    (told,) = running.text().splitlines()
    assert told.startswith(f"echo: {line}")
    assert "hush" not in told
