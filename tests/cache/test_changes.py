"""What processes hear of one another's changes while their server dies, hangs, and comes back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from processes import Site, until
from test_tags import Process

from cache.changes import CHANNEL, Change, Changes
from cache.shared import SharedTier
from cache.tags import Tags
from cache.tier import TierFault
from cache.tiered import TieredCache
from echo_tasks import connections


@pytest.fixture(scope="module")
def pair(broker_url: str) -> Iterator[tuple[Process, Process]]:
    """Two processes, as far as the server can tell."""
    mine, theirs = Process(broker_url), Process(broker_url)
    yield mine, theirs
    mine.stop()
    theirs.stop()


@pytest.mark.parametrize("connect", [connections.impatient, connections.patient])
def test_a_restart_of_the_server_hides_nothing(
    own_site: Site, prefix: str, connect: Callable[[str], redis.Redis]
) -> None:
    """What others make void while a process hears nothing is void for it, too, and what is not stays good.

    While the server is away stamped values are misses, and the others are hits.
    """
    with own_site.server("broker") as server:
        mine = Process(own_site.broker_url, connect)
        mine.keep("void", f"{prefix}a")
        mine.keep("good", f"{prefix}b")
        mine.keep("asked", f"{prefix}b")
        mine.keep("free")
        assert all(mine.has(key) for key in ("void", "good", "asked", "free"))
        assert mine.client.execute_command("WAITAOF", 1, 0, 9000)[0] == 1
        server.stop(signal.SIGKILL)
    until(lambda: not mine.changes.are_heard(), "the loss is noticed", 5)
    if connect is connections.impatient:  # the other one would wait for half a minute
        assert [mine.has(key) for key in ("asked", "free")] == [False, True]
        with pytest.raises(TierFault):
            mine.changes.tell(Change())
    with own_site.server("broker"):
        client = connections.impatient(own_site.broker_url)
        Tags(client, Changes(client)).invalidate([f"{prefix}a"])
        client.close()
        until(mine.changes.are_heard, "changes are heard again", 10)
        assert [mine.has(key) for key in ("void", "good", "free")] == [False, True, True]
        mine.stop()


def test_a_server_that_hangs_is_noticed(own_site: Site, prefix: str) -> None:
    """Within seconds what cannot be known to be good is a miss; once the server goes on it is heard again."""
    with own_site.server("broker") as server:
        mine = Process(own_site.broker_url)
        mine.keep("key", prefix)
        assert mine.has("key")
        server.send(signal.SIGSTOP)
        until(lambda: not mine.changes.are_heard(), "the silence is noticed", 15)
        assert not mine.has("key")
        server.send(signal.SIGCONT)
        until(mine.changes.are_heard, "changes are heard again", 10)
        mine.stop()


def test_junk_on_the_channel_ends_nothing(broker: redis.Redis, pair: tuple[Process, Process], prefix: str) -> None:
    """Whatever is told, changes are heard afterwards."""
    mine, theirs = pair
    for junk in (b"junk", b"[]", b'["a", 5, 5]', b"\xff"):
        mine.keep("key", prefix)
        until(lambda: mine.has("key"), "the value is good", 10)
        broker.publish(CHANNEL, junk)
        theirs.tags.invalidate([prefix])
        until(lambda: mine.changes.are_heard() and not mine.has("key"), "the invalidation is heard", 10)


def test_nobody_hears_what_it_says_itself(broker: redis.Redis, in_threads: Callable[..., Any]) -> None:
    """Others do, and only those of the same channel."""
    heard: dict[str, list[Change]] = {"mine": [], "theirs": [], "apart": []}
    all_changes = {
        name: Changes(broker, channel=f"{CHANNEL}:apart" if name == "apart" else f"{CHANNEL}:here") for name in heard
    }
    for name, changes in all_changes.items():
        changes.listen(heard[name].append)
        changes.start()
        until(changes.are_heard, "it listens")
    all_changes["mine"].tell(Change({"a": "1"}, ["l1"]))
    all_changes["theirs"].tell(Change({}, ["l3"]))
    until(lambda: heard["theirs"] and heard["mine"], "they are heard")
    in_threads(lambda number: [*all_changes.values()][number].stop(), 3)
    assert heard == {"mine": [Change({}, ["l3"])], "theirs": [Change({"a": "1"}, ["l1"])], "apart": []}


def test_clearing_a_level_reaches_other_processes(pair: tuple[Process, Process], store: redis.Redis) -> None:
    """What is each process's own is cleared in all; what they share is cleared once, not by each who hears of it."""
    mine, theirs = pair
    shared = SharedTier(store)
    for process in (mine, theirs):
        process.cache = TieredCache(process.memory, [shared], tags=process.tags, changes=process.changes)
        process.keep("key")
    assert mine.cache.clear("l1") == 1
    until(lambda: theirs.memory.size().entries == 0, "their memory is cleared")
    assert store.dbsize() == 1
    assert mine.cache.clear("l2") == 1
    store.set("echo:cache:since", b"kept since")
    theirs.keep("later")
    mine.cache.clear("l1")
    until(lambda: theirs.memory.size().entries == 0, "all of it is heard")
    assert store.exists("echo:cache:since")
