"""Servers by their URLs: what is taken, what is refused, and what becomes of it for Celery and for our own clients."""

from __future__ import annotations

import pytest
import redis
from redis.sentinel import SentinelConnectionPool

from echo_tasks import addresses, connections
from echo_tasks.errors import SettingsError
from echo_tasks.settings import load

TWO = "sentinel://me:se%2Fcret@one:26380/3;sentinel://two/3"


@pytest.mark.parametrize("url", ["redis://host", "rediss://:x@host:7000/1", "sentinel://host", TWO])
def test_urls_that_are_taken(url: str) -> None:
    """One server, one behind TLS, one or more sentinels."""
    assert addresses.checked(url) == url
    assert addresses.for_celery(load({"BROKER_URL": url}).broker) == url


@pytest.mark.parametrize(
    "url",
    ["amqp://host", "redis://", "redis://one;redis://two", "sentinel://one;redis://two", "sentinel://one;", TWO + "x",
     "sentinel://one:99999", "redis://host/0?ssl_cert_reqs=none"],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    """Other schemes, mixtures, parts without a host, and queries, which are ours to add."""
    with pytest.raises(SettingsError):
        load({"BROKER_URL": url})


def test_sentinels_are_asked_for_the_primary() -> None:
    """Our client asks all of them, by the name that the settings give, and logs in at the primary."""
    settings = load({"BROKER_URL": TWO, "SENTINEL_PRIMARY": "farm"})
    told = addresses.sentinels(settings.broker)
    assert told == addresses.Sentinels((("one", 26380), ("two", 26379)), "farm", 3, "me", "se/cret")
    with connections.impatient(settings.broker) as client:
        pool = client.connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        assert (pool.service_name, pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == (
            "farm",
            "se/cret",
            3,
        )


def test_certificates_are_checked_unless_told_otherwise() -> None:
    """Verification is the default, for our clients and for Celery's transport."""
    settings = load({"BROKER_URL": "rediss://host:7000/1", "TLS_CA": "/ca.pem"})
    with connections.impatient(settings.broker) as client:
        told = client.connection_pool.connection_kwargs
        assert client.connection_pool.connection_class is redis.SSLConnection
        assert (told["ssl_cert_reqs"], told["ssl_check_hostname"]) == ("required", True)
        assert told["ssl_ca_certs"] == settings.tls["ssl_ca_certs"] == "/ca.pem"
    careless = load({"BROKER_URL": "rediss://host", "TLS_VERIFY": "false"})
    with connections.impatient(careless.broker) as client:
        assert client.connection_pool.connection_kwargs["ssl_cert_reqs"] == "none"
        assert client.connection_pool.connection_kwargs["ssl_check_hostname"] is False
