"""One token of one head's recurrence, in vectors: what numba makes of loops for it takes half as long again.

The state is kept transposed, so that a vector holds values of one key and nothing is summed up within it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

HEAD = 64
"""Channels a head."""

_LANES = 16
_PARTS = HEAD // _LANES
_AT_ONCE = 2
"""Keys a turn of a loop, each with sums of its own: the next addition need not wait for the last."""

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_F32, _LANES)


@intrinsic  # type: ignore[untyped-decorator]
def sweep(_: Any, states: Any, state: Any, own: Any, r: Any, w: Any, k: Any, v: Any, a: Any, b: Any, y: Any) -> Any:
    """S <- S diag(w) + (S a) b^T + v k^T, y = S r for the S^T (64, 64) at states[state]; r to y are places in `own`."""
    kinds = [types.CPointer(types.float32), types.int64, types.CPointer(types.float32), *[types.int64] * 7]

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _Sweep(builder, values[0], values[1], values[2], dict(zip("rwkvaby", values[3:], strict=True))).write()
        return context.get_dummy_value()

    return types.void(*kinds), code


class _Sweep:
    """Writes the two loops over the keys: one for S a, one for the new S and y."""

    def __init__(self, builder: Any, states: Any, state: Any, own: Any, places: dict[str, Any]) -> None:
        self._builder, self._states, self._state, self._own, self._places = builder, states, state, own, places

    def write(self) -> None:
        """Write them at the builder's place."""
        builder = self._builder

        def read(key: Any, sums: list[Any]) -> list[Any]:
            of_a = self._same("a", key)
            return [self._added(kept, of_a, total) for kept, total in zip(self._row(key), sums, strict=True)]

        reads = self._over_keys(read)
        values = [builder.load(self._vector(self._own, self._places["v"], part), align=4) for part in range(_PARTS)]

        def sweep(key: Any, sums: list[Any]) -> list[Any]:
            of_w, of_b, of_k, of_r = (self._same(name, key) for name in "wbkr")
            said = []
            for part, old in enumerate(self._row(key)):
                kept = self._added(reads[part], of_b, builder.fmul(old, of_w))
                kept = self._added(values[part], of_k, kept)
                builder.store(kept, self._vector(self._states, self._row_at(key), part), align=4)
                said.append(self._added(kept, of_r, sums[part]))
            return said

        for part, total in enumerate(self._over_keys(sweep)):
            builder.store(total, self._vector(self._own, self._places["y"], part), align=4)

    def _over_keys(self, body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """The sums, in vectors, that `body(key, sums)` makes of those before it."""
        builder, before = self._builder, self._builder.block
        loop, after = builder.append_basic_block("keys"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        key = builder.phi(_I64)
        sums = [[builder.phi(_VECTOR) for _ in range(_PARTS)] for _ in range(_AT_ONCE)]
        new = [body(builder.add(key, ir.Constant(_I64, i)), sums[i]) for i in range(_AT_ONCE)]
        following = builder.add(key, ir.Constant(_I64, _AT_ONCE))
        key.add_incoming(ir.Constant(_I64, 0), before)
        key.add_incoming(following, loop)
        for lot, lot_after in zip(sums, new, strict=True):
            for old, total in zip(lot, lot_after, strict=True):
                old.add_incoming(ir.Constant(_VECTOR, [0.0] * _LANES), before)
                old.add_incoming(total, loop)
        builder.cbranch(builder.icmp_signed("<", following, ir.Constant(_I64, HEAD)), loop, after)
        builder.position_at_end(after)
        return [builder.fadd(*lots) for lots in zip(*new, strict=True)]

    def _row_at(self, key: Any) -> Any:
        return self._builder.add(self._state, self._builder.mul(key, ir.Constant(_I64, HEAD)))

    def _row(self, key: Any) -> list[Any]:
        """What the state holds of a key."""
        at = self._row_at(key)
        return [self._builder.load(self._vector(self._states, at, part), align=4) for part in range(_PARTS)]

    def _vector(self, array: Any, at: Any, part: int) -> Any:
        """The address of one of the vectors that begin at an element."""
        start = self._builder.add(at, ir.Constant(_I64, part * _LANES))
        return self._builder.bitcast(self._builder.gep(array, [start]), _VECTOR.as_pointer())

    def _same(self, name: str, key: Any) -> Any:
        """A vector of nothing but a name's number for a key."""
        builder = self._builder
        value = builder.load(builder.gep(self._own, [builder.add(self._places[name], key)]))
        first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES))

    def _added(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z, rounded once where the processor can."""
        return self._builder.fadd(self._builder.fmul(x, y, flags=["contract"]), z, flags=["contract"])
