"""Keys in the broker: only hashes, good until they are not, and as many requests as they may make."""

from __future__ import annotations

import math

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_tasks import keys
from echo_tasks.access import credentials
from echo_tasks.access.admission import Admission
from echo_tasks.access.credentials import Credential
from echo_tasks.access.grants import SCOPES, UNBOUND, Bounds, Grant
from echo_tasks.access.keyring import Keyring, Request
from echo_tasks.errors import KeyNotFound


@pytest.fixture
def keyring(broker: redis.Redis) -> Keyring:
    return Keyring(broker)


def a_key(keyring: Keyring, **fields: object) -> Credential:
    """A key as its holder shows it."""
    return shown(keyring.make(Request("somebody", ("submit", "read"), **fields)))  # type: ignore[arg-type]


def shown(text: str) -> Credential:
    found = credentials.parsed(text)
    assert found is not None
    return found


def asked(keyring: Keyring, key: Credential | None, address: str = "192.0.2.7", per_minute: int = 0) -> Admission:
    return keyring.admit(key, address, per_minute)


def test_the_broker_holds_no_secret(keyring: Keyring, broker: redis.Redis) -> None:
    """Neither of a new key nor of a rotated one; what it holds does not let anybody in."""
    texts = [keyring.make(Request("somebody", ("read",)))]
    texts.append(keyring.rotate(shown(texts[0]).key_id, 60))
    whole = repr(broker.hgetall(keys.access(shown(texts[0]).key_id)))
    assert "somebody" in whole
    for text in texts:
        secret = text.removeprefix(f"echo_{shown(text).key_id}_")
        assert len(secret) == 43
        assert secret not in whole
        assert credentials.digest(secret) in whole
        assert credentials.digest(secret) not in text
    assert len({*texts}) == 2


def test_a_key_is_told_back_as_it_was_made(keyring: Keyring) -> None:
    """Its scopes, bounds and times, and when it was used last."""
    bounds = Bounds(priority=2, priority_most=5, open_jobs=3, requests_per_minute=100)
    key = a_key(keyring, bounds=bounds, expires_in_s=3600)
    grant = keyring.read(key.key_id)
    assert (grant.name, grant.scopes, grant.bounds, grant.owner) == (
        "somebody",
        ("submit", "read"),
        bounds,
        key.key_id,
    )
    assert grant.expires_at == pytest.approx(grant.created_at + 3600, abs=1)
    assert grant.last_used_at is None
    admission = asked(keyring, key)
    assert admission.standing == "good"
    assert admission.grant is not None
    assert admission.grant.last_used_at is not None
    assert key.key_id in {one.key_id for one in keyring.all()}
    partner = a_key(keyring, owner=key.key_id)
    assert keyring.read(partner.key_id).owner == key.key_id
    with pytest.raises(KeyNotFound):
        a_key(keyring, owner="aaaaaaaaaa")


def test_only_who_has_the_secret_is_told_how_his_key_stands(keyring: Keyring, broker: redis.Redis) -> None:
    """A wrong secret is unknown, whatever became of the key."""
    key = a_key(keyring, expires_in_s=60)
    wrong = Credential(key.key_id, credentials.digest("x" * 43))
    assert [asked(keyring, one).standing for one in (key, wrong, None)] == ["good", "unknown", "unknown"]
    assert keyring.good_for_s(key) == pytest.approx(60, abs=5)
    broker.hset(keys.access(key.key_id), "expires_at", "1")
    with pytest.raises(KeyNotFound):
        keyring.rotate(key.key_id, 60)
    assert [asked(keyring, one).standing for one in (key, wrong)] == ["expired", "unknown"]
    keyring.revoke(key.key_id)
    assert [asked(keyring, one).standing for one in (key, wrong)] == ["revoked", "unknown"]
    assert asked(keyring, key).grant is None
    assert not keyring.good_for_s(key)
    with pytest.raises(KeyNotFound):
        keyring.rotate(key.key_id, 60)
    with pytest.raises(KeyNotFound):
        keyring.revoke("aaaaaaaaaa")


def test_a_rotated_key_has_two_secrets_for_a_while(keyring: Keyring, broker: redis.Redis) -> None:
    """The one before the last, and no older one; it ends by itself."""
    text = keyring.make(Request("somebody", ("read",)))
    assert keyring.good_for_s(shown(text)) == math.inf
    first = shown(text)
    second = shown(keyring.rotate(first.key_id, 60))
    assert [asked(keyring, one).standing for one in (first, second)] == ["good", "good"]
    assert keyring.good_for_s(first) == pytest.approx(60, abs=5)
    assert keyring.good_for_s(second) == math.inf
    third = shown(keyring.rotate(first.key_id, 60))
    assert [asked(keyring, one).standing for one in (first, second, third)] == ["unknown", "good", "good"]
    broker.hset(keys.access(first.key_id), "old_until", "1")
    assert [asked(keyring, one).standing for one in (second, third)] == ["unknown", "good"]
    fourth = shown(keyring.rotate(first.key_id, 0))
    assert [asked(keyring, one).standing for one in (third, fourth)] == ["unknown", "good"]


def test_a_rate_is_the_keys_own_or_everybodys(keyring: Keyring, broker: redis.Redis) -> None:
    """All of a minute's requests may come at once; one more has to wait as long as it is told."""
    key, free = a_key(keyring, bounds=Bounds(requests_per_minute=3)), a_key(keyring)
    rates = [asked(keyring, key, per_minute=1000).rate for _ in range(4)]
    assert [(rate.counted_by, rate.limit, rate.left, rate.is_over) for rate in rates if rate] == [
        ("key", 3, 2, False),
        ("key", 3, 1, False),
        ("key", 3, 0, False),
        ("key", 3, 0, True),
    ]
    assert rates[3] is not None
    assert 19 < rates[3].next_in_s <= 20
    assert 59 < rates[3].whole_in_s <= 60
    assert 0 < broker.pttl(keys.rate_of_key(key.key_id)) <= 60_000
    assert asked(keyring, free, per_minute=0).rate is None
    rate = asked(keyring, free, per_minute=5).rate
    assert rate is not None
    assert (rate.limit, rate.left) == (5, 4)


def test_wrong_keys_count_for_the_address_that_showed_them(keyring: Keyring) -> None:
    """A key's id is no secret: who has it alone must not spend its requests."""
    key = a_key(keyring, bounds=Bounds(requests_per_minute=2))
    wrong = Credential(key.key_id, credentials.digest("x" * 43))
    rates = [asked(keyring, wrong, "192.0.2.8", 2).rate for _ in range(3)]
    assert [(rate.counted_by, rate.is_over) for rate in rates if rate] == [
        ("address", False),
        ("address", False),
        ("address", True),
    ]
    right = asked(keyring, key, "192.0.2.8", 2)
    assert right.standing == "good"
    assert right.rate is not None
    assert (right.rate.left, right.rate.is_over) == (1, False)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 50), pauses_s=st.lists(st.floats(0, 30), max_size=60))
def test_a_rate_is_that_of_a_bucket_which_fills_steadily(
    keyring: Keyring, broker: redis.Redis, limit: int, pauses_s: list[float]
) -> None:
    """Against a bucket of tokens, with pauses between the requests."""
    key = a_key(keyring, bounds=Bounds(requests_per_minute=limit))
    bucket, tokens, before = keys.rate_of_key(key.key_id), float(limit), 0.0
    for pause_s in pauses_s:
        if (full := broker.get(bucket)) is not None:
            broker.set(bucket, float(full) - pause_s, keepttl=True)
        rate = asked(keyring, key).rate
        assert rate is not None
        passed_s = rate.at - before + pause_s
        tokens, before = min(limit, tokens + passed_s * limit / 60), rate.at
        if abs(tokens - 1) > 0.01:
            assert rate.is_over is (tokens < 1)
        tokens -= 0 if rate.is_over else 1
        assert rate.left <= tokens + 0.01
        assert tokens < 1 or rate.is_over or rate.left >= math.floor(tokens - 0.01)


def test_a_full_broker_lets_keys_through_uncounted_and_takes_them_back(keyring: Keyring, broker: redis.Redis) -> None:
    """What was asked for is another matter; a key that leaked must go whatever happens."""
    key = a_key(keyring, bounds=Bounds(requests_per_minute=1))
    broker.config_set("maxmemory", 1)
    try:
        for _ in range(3):
            admission = asked(keyring, key)
            assert admission.standing == "good"
            assert admission.rate is not None
            assert not admission.rate.is_over
        keyring.revoke(key.key_id)
        assert asked(keyring, key).standing == "revoked"
    finally:
        broker.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "echo_",
        "echo_abcdefghij_short",
        f"echo_ABCDEFGHIJ_{'x' * 43}",
        f"echo_abcdefghij_{'x' * 44}",
        f"echo_abcdefghij_{'x' * 42}\n",
        f"echo_abcdefghij_{'x' * 42}é",
        f"echo_abcdefghij_{'x' * 43}\0",
        f" echo_abcdefghij_{'x' * 43}",
        "echo_" + "a" * 100_000,
    ],
)
def test_what_is_no_key_is_known_without_asking(text: str) -> None:
    """It never comes near the broker's keys."""
    assert credentials.parsed(text) is None


def test_who_sees_to_the_farm_may_do_all_else() -> None:
    """Each scope is good for itself, and `admin` for the other two."""
    for held, allowed in (("read", {"read"}), ("submit", {"submit"}), ("admin", {"read", "submit", "admin"})):
        grant = Grant(key_id="k", owner="k", name="n", scopes=(held,), bounds=UNBOUND, created_at=0.0)  # type: ignore[arg-type]
        assert {scope for scope in SCOPES if grant.may(scope)} == allowed
