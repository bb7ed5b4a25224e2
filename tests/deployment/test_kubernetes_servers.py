"""Broker and store start with the very command and configuration of their manifests, under a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from pod_server import PASSWORD, started


@pytest.mark.parametrize("role", ["broker", "store"])
def test_it_wants_the_password_and_tells_nobody(role: str, tmp_path: Path) -> None:
    """Without it there is no word; the process list has none of it."""
    with started(role, tmp_path) as (client, process):
        assert client.ping()
        stranger = redis.Redis(port=client.get_connection_kwargs()["port"])
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        stranger.close()
        assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert PASSWORD.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes()


def test_the_broker_keeps_what_it_has_and_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    """After a restart all is there; full, it takes no more."""
    with started("broker", tmp_path) as (client, _):
        client.set("kept", "all along")
    with started("broker", tmp_path) as (client, _):
        assert client.get("kept") == b"all along"
        client.config_set("maxmemory", "1mb")  # less than it uses as it is
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "than it may hold")
        assert client.get("kept") == b"all along"


def test_the_store_lets_go_of_the_least_recently_used(tmp_path: Path) -> None:
    """Full, it makes room; a restart empties it."""
    with started("store", tmp_path) as (client, _):
        client.config_set("maxmemory", "4mb")
        for number in range(100):
            client.set(f"more{number}", "x" * 100_000)
        assert client.exists("more99")
        assert client.info("stats")["evicted_keys"] > 0
    with started("store", tmp_path) as (client, _):
        assert client.dbsize() == 0
