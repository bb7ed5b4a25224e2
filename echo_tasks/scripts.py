"""The ledger's Lua scripts: each is a file of `lua/`, after what all of them share."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import redis
from redis.commands.core import Script

_SHARED = ("prelude.lua", "backlog.lua", "spending.lua", "session.lua", "steps.lua")


def script(client: redis.Redis, name: str) -> Script:
    """The script `lua/{name}.lua`, to be called with `keys` and `args`; the server keeps it by its hash."""
    return client.register_script(_source(name))


@cache
def _source(name: str) -> str:
    folder = files("echo_tasks") / "lua"
    return "\n".join((folder / part).read_text() for part in (*_SHARED, f"{name}.lua"))
