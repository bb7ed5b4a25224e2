"""The keys on one broker: made, looked up, let in, rotated, revoked."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from echo_tasks import keys
from echo_tasks.access import credentials
from echo_tasks.access.admission import Admission, Rate
from echo_tasks.access.credentials import Credential
from echo_tasks.access.grants import UNBOUND, Bounds, Grant, Scope, fields, grant
from echo_tasks.connections import broker_faults
from echo_tasks.errors import KeyNotFound
from echo_tasks.scripts import script

USE_NOTED_EVERY_S = 60
"""The time of a key's last use is right to so many seconds: noting each would be a write a request."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who is to have a key, and for what; `owner` is another key whose jobs and sessions it is to share."""

    name: str
    scopes: tuple[Scope, ...]
    bounds: Bounds = UNBOUND
    expires_in_s: int | None = None
    owner: str | None = None


class Keyring:
    """Every method blocks for a round trip or two and raises BrokerUnavailable. Threads and greenlets may share it."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._admit = script(client, "admit")
        self._enrol = script(client, "enrol")
        self._rotate = script(client, "rotate")
        self._revoke = script(client, "revoke")

    def make(self, asked: Request) -> str:
        """Make a key; its text, which nobody can be told again. Raises KeyNotFound for an owner that is none."""
        owner = self.read(asked.owner).owner if asked.owner else None
        while True:
            key_id, secret = credentials.new_id(), credentials.new_secret()
            made = Grant(
                key_id=key_id,
                owner=owner or key_id,
                name=asked.name,
                scopes=asked.scopes,
                bounds=asked.bounds,
                created_at=0.0,
            )
            record = fields(made) | {"digest": credentials.digest(secret)}
            del record["created_at"]  # by the broker's clock
            flat = [part for pair in record.items() for part in pair]
            names = [keys.access(key_id), keys.ACCESS]
            with broker_faults():
                if self._enrol(
                    keys=names, args=[key_id, "" if asked.expires_in_s is None else asked.expires_in_s, *flat]
                ):
                    return credentials.written(key_id, secret)

    def read(self, key_id: str) -> Grant:
        """What a key is good for. Raises KeyNotFound."""
        with broker_faults():
            record = self._redis.hgetall(keys.access(key_id))
        if not record:
            raise KeyNotFound(key_id)
        return grant(key_id, record)

    def all(self) -> list[Grant]:
        """Every key there has been, the oldest first."""
        with broker_faults(), self._redis.pipeline() as pipe:
            key_ids = self._redis.zrange(keys.ACCESS, 0, -1)
            for key_id in key_ids:
                pipe.hgetall(keys.access(key_id))
            return [grant(*pair) for pair in zip(key_ids, pipe.execute(), strict=True) if pair[1]]

    def rotate(self, key_id: str, grace_s: float) -> str:
        """Give a key another secret, and let the one before be good for `grace_s` seconds; the key's new text.

        Raises KeyNotFound, for one that was revoked or has expired, too.
        """
        secret = credentials.new_secret()
        args = [credentials.digest(secret), grace_s, keys.ACCESS_CHANNEL, key_id]
        with broker_faults():
            if not self._rotate(keys=[keys.access(key_id)], args=args):
                raise KeyNotFound(key_id)
        return credentials.written(key_id, secret)

    def revoke(self, key_id: str) -> None:
        """Have a key be good for nothing from now on, in every process. Raises KeyNotFound."""
        with broker_faults():
            if not self._revoke(
                keys=[keys.access(key_id), keys.rate_of_key(key_id)], args=[keys.ACCESS_CHANNEL, key_id]
            ):
                raise KeyNotFound(key_id)

    def admit(self, shown: Credential | None, address: str, per_minute: int) -> Admission:
        """How a key stands, and its rate; one that is not good, or is none, counts for the address."""
        return self._asked(shown, address, per_minute, counted="1")

    def good_for_s(self, shown: Credential) -> float:
        """How much longer the key that was good is so, unless something is done to it; it counts for no rate."""
        admission = self._asked(shown, "", 0, counted="")
        return admission.ends_in_s if admission.grant else 0.0

    def _asked(self, shown: Credential | None, address: str, per_minute: int, *, counted: str) -> Admission:
        key_id, digest = (shown.key_id, shown.digest) if shown else ("", "")
        names = [keys.access(key_id), keys.rate_of_key(key_id), keys.rate_of_address(address)]
        with broker_faults():
            standing, at, limit, left, whole_in_s, next_in_s, flat = self._admit(
                keys=names, args=[digest, per_minute, USE_NOTED_EVERY_S, counted]
            )
        rate = Rate(
            counted_by="key" if standing == "good" else "address",
            limit=limit,
            left=left,
            whole_in_s=float(whole_in_s),
            next_in_s=float(next_in_s),
            at=float(at),
        )
        if standing != "good":
            return Admission(standing, None, rate if limit else None)
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        known = grant(key_id, record)
        ends_in_s = known.ends_at(is_old=record["digest"] != digest) - rate.at
        return Admission(standing, known, rate if limit else None, ends_in_s)
