"""The schema of the broker's keys: brought up once, by one, and respected by older releases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from processes import PYTHON, Site, free_port, until
from yard import Yard

from echo_tasks import connections, keys, schema
from echo_tasks.errors import EX_CONFIG, BrokerUnavailable, SchemaTooNew
from echo_tasks.schema import MIGRATIONS, Migration, Schema

NEXT = schema.LATEST + 1


def next_release(compatible_from: int = 0, takes_s: float = 0.0) -> tuple[Migration, ...]:
    """This one's migrations, and one of a release to come, which counts how often it is applied."""

    def apply(client: redis.Redis) -> None:
        time.sleep(takes_s)
        client.incr("applied")

    return (*MIGRATIONS, Migration(NEXT, compatible_from, apply))


def test_a_broker_of_the_first_release_gets_its_number(yard: Yard) -> None:
    """0.1.0 wrote none. What it left is there as before, and whoever looks again changes nothing."""
    job_id = yard.published().job_id
    assert schema.stored(yard.broker) == Schema(0, 0)
    assert schema.bring_up(yard.broker) == schema.bring_up(yard.broker) == Schema(schema.LATEST, 0)
    assert yard.take() == [job_id]


def test_of_many_one_migrates(yard: Yard) -> None:
    """The others wait for it, and find the keys as they are to be."""
    migrations = next_release(takes_s=0.3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: schema.bring_up(yard.broker, migrations), range(8)))
    assert found == [Schema(NEXT, 0)] * 8
    assert yard.broker.get("applied") == "1"
    assert yard.broker.get(keys.SCHEMA_LOCK) is None


def test_a_migration_that_fails_is_made_by_the_next_process(yard: Yard) -> None:
    """The number stays where it was."""

    def fail(client: redis.Redis) -> None:
        raise redis.ConnectionError("gone")

    with pytest.raises(BrokerUnavailable):
        schema.bring_up(yard.broker, (*MIGRATIONS, Migration(NEXT, 0, fail)))
    assert schema.stored(yard.broker).number == schema.LATEST
    assert schema.bring_up(yard.broker, next_release()).number == NEXT


def test_an_older_release_goes_on_where_the_newer_one_says_that_it_may(yard: Yard) -> None:
    """That is a rollback; it takes nothing back, so the newer release has nothing to do again."""
    schema.bring_up(yard.broker, next_release(compatible_from=schema.LATEST))
    assert schema.bring_up(yard.broker) == Schema(NEXT, schema.LATEST)
    schema.bring_up(yard.broker, next_release(compatible_from=schema.LATEST))
    assert yard.broker.get("applied") == "1"


def test_an_older_release_that_may_not_is_refused(yard: Yard) -> None:
    """In one line that says what is there, and what would do."""
    schema.bring_up(yard.broker, next_release(compatible_from=NEXT))
    with pytest.raises(SchemaTooNew, match=f"schema {NEXT}, which .* {NEXT} or later .* schema {schema.LATEST}"):
        schema.bring_up(yard.broker)


def test_what_later_schemas_forbid_stays_forbidden(yard: Yard) -> None:
    """One that is compatible does not make those compatible that the one before was not."""
    schema.bring_up(yard.broker, next_release(compatible_from=NEXT))
    later = Migration(NEXT + 1, 0, lambda _: None)
    assert schema.bring_up(yard.broker, (*next_release(), later)) == Schema(NEXT + 1, NEXT)


PROCESSES = {
    "api": ("-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()"),
    "worker": ("-m", "celery", "-A", "echo_tasks", "worker"),
    "controller": ("-m", "autoscale"),
    "exporter": ("-m", "monitoring.exporter"),
}


@pytest.fixture
def newer_site(tmp_path: Path, talkative: Path, broker_url: str) -> Site:
    """A site whose broker's keys are a release's to come, in a database of their own."""
    url = broker_url.removesuffix("/0") + "/7"
    with connections.impatient(url) as client:
        client.flushdb()
        schema.bring_up(client, next_release(compatible_from=NEXT))
    return Site(tmp_path, {"BROKER_URL": url, "ECHO_MODEL": str(talkative)})


@pytest.mark.farm
def test_no_process_starts_on_keys_that_it_cannot_use(newer_site: Site) -> None:
    """Each ends with one line and the status that keeps it from being started again."""
    with ExitStack() as stack:
        started = [stack.enter_context(newer_site.run(name, PYTHON, *command)) for name, command in PROCESSES.items()]
        for running in started:
            assert running.process.wait(30) == EX_CONFIG, running.text()
            told = [line for line in running.text().splitlines() if f"schema {NEXT}" in line]
            assert len(told) == 1, running.text()
            assert "Traceback" not in running.text()


@pytest.mark.farm
def test_a_process_that_finds_out_late_ends_too(newer_site: Site) -> None:
    """Its broker was away when it started. gunicorn has a status of its own; its successor finds out at once."""
    later = Site(newer_site.folder, newer_site.env | {"BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"})
    port = later.env["BROKER_URL"].rpartition(":")[2].partition("/")[0]
    own_broker = Site(newer_site.folder, {"BROKER_PORT": port})
    with own_broker.server("broker"), connections.impatient(later.env["BROKER_URL"]) as client:
        client.hset(keys.SCHEMA, mapping={"number": NEXT, "compatible_from": NEXT})
    with (
        later.run("api", PYTHON, *PROCESSES["api"]) as api,
        later.run("exporter", PYTHON, *PROCESSES["exporter"]) as own,
    ):
        until(lambda: later.get("/livez").status == 200, "the API lives")
        with own_broker.server("broker"):
            assert until(lambda: api.process.poll(), "the API ends") == 4, api.text()
            assert until(lambda: own.process.poll(), "the exporter ends") == EX_CONFIG, own.text()
            assert f"schema {NEXT}" in api.text()
