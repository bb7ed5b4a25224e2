"""A farm whose servers ask for passwords, which it reads from files and tells nobody."""

from __future__ import annotations

from base64 import b64encode
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.request import Request

import psutil
import pytest
import redis
from exporting import exporter
from processes import PYTHON, Site, asked, until

from echo_tasks.settings import load

pytestmark = pytest.mark.farm

BROKER, STORE, EVE = 'b/ro:ke@r#? %"é\\', "st/or:e@", "eve:wh,isper"


class Locked(Site):
    """A site whose tests log in as its processes do."""

    @property
    def broker_url(self) -> str:
        return load(self.env).broker

    @property
    def store_url(self) -> str:
        return load(self.env).store


@pytest.fixture
def locked(tmp_path: Path, talkative: Path) -> Locked:
    """A site with its passwords in files."""
    files = {"BROKER_PASSWORD_FILE": BROKER, "CACHE_PASSWORD_FILE": STORE, "FLOWER_BASIC_AUTH_FILE": EVE}
    for name, secret in files.items():
        (tmp_path / name).write_text(secret + "\n")
    env = {name: str(tmp_path / name) for name in files}
    return Locked(tmp_path, env | {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "2", "LOG_LEVEL": "DEBUG"})


def test_a_farm_with_passwords_works_and_shows_none(locked: Locked) -> None:
    """Jobs, sessions' states, metrics and Flower's view of the broker work; no log, page or process has a password."""
    with ExitStack() as farm:
        running = [farm.enter_context(locked.server(role)) for role in ("broker", "store")]
        # A URL without a password: Celery would take it from the environment by itself, and nothing besides.
        plain = {"BROKER_URL": f"redis://127.0.0.1:{locked.env['BROKER_PORT']}/0"}
        running += [farm.enter_context(locked.worker(env=plain)), farm.enter_context(locked.http())]
        exporting = farm.enter_context(exporter(locked))
        command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "flower")
        running.append(farm.enter_context(locked.run("flower", *command, env=plain)))
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=int(locked.env["BROKER_PORT"])) as stranger:
            stranger.ping()
        job = locked.post("/api/jobs", {"input_text": "Hello", "session_id": "one", "options": {"max_tokens": 4}}).json
        assert locked.ended(job["job_id"])["status"] == "succeeded"
        health = locked.get("/health")
        assert health.status == 200, health.body
        status, told = exporting.get("/health")
        assert status == 200, told
        pages = [health.body, locked.get("/metrics").body, str(told).encode(), exporting.get("/metrics")[1]]
        eve = {"Authorization": f"Basic {b64encode(EVE.encode()).decode()}"}
        flower = partial(Request, headers=eve)
        url = f"http://127.0.0.1:{locked.env['FLOWER_PORT']}"
        until(lambda: b"worker@test" in asked(flower(f"{url}/workers"))[1], "Flower knows the worker")
        pages.append(asked(flower(f"{url}/broker"))[1])
        assert b"echo.memory" in pages[-1]
        words = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
        shown = "".join([*words, *(one.text() for one in running), *(str(page) for page in pages)])
    for secret in (BROKER, STORE, EVE.removeprefix("eve:")):
        assert not any(part in shown for part in (secret, secret[:5])), secret
