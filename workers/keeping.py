"""Where a worker's states are kept: in its own memory, and where all workers find them."""

from __future__ import annotations

from cache.assembly import MIB, Assembly
from cache.memory import MemoryTier
from echo_tasks.settings import Settings
from workers.model import Model
from workers.prefixes import Prefixes
from workers.states import StateFormat


def prefixes(model: Model, settings: Settings, assembly: Assembly) -> Prefixes:
    """What finds and keeps the model's states, not yet started.

    The memory goes by ranks, whatever EVICTION_POLICY is: what only may be wanted must not flush what will be.
    """
    states = StateFormat(model.model_id, model.rwkv.shape, model.rwkv.dtype, settings.echo_state_format)
    memory = MemoryTier(settings.echo_states_mb * MIB, "ranked")
    cache = assembly.cache(memory, compress=False)  # measured: states do not compress
    ttl_s = 60 * settings.session_timeout_minutes
    return Prefixes(cache, states, ttl_s=ttl_s, spare=assembly.memory_alone(memory))
