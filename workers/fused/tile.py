"""A few rows of x times 64 columns of a packed weight, in registers: what all matrix products are made of.

bf16 products use the processor's own (VDPBF16PS sums up pairs, in fp32), fp32 ones are fused multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

COLUMNS = 64
"""Outputs that are computed together."""

ROWS = 6
"""Rows that are computed together: with them and four vectors of weights, 29 of 32 registers are in use."""

_LANES = 16
_PARTS = COLUMNS // _LANES
_AHEAD_BYTES = 2048
"""How far ahead weights are asked for: they come from memory, and are read once."""

_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_WORDS, _VECTOR = ir.VectorType(_I32, _LANES), ir.VectorType(_F32, _LANES)
_HALVES = ir.VectorType(ir.IntType(16), _LANES)


binding.initialize_native_asmparser()


def tile(rows: int) -> Any:
    """An intrinsic: `out[:rows, :64] = x[:rows] @ w` of the table's number format; all are addresses and bytes.

    `later` is asked for on the way, a line a step: what will be read after this.
    """

    def typed(_: Any, table: Any, x: Any, x_row: Any, w: Any, steps: Any, later: Any, out: Any, out_row: Any) -> Any:
        is_bf16 = table.dtype == types.uint16

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            _Tile(builder, rows, is_bf16, *values[1:]).write()
            return context.get_dummy_value()

        return types.void(table, *[types.int64] * 7), code

    return intrinsic(typed)


class _Tile:
    """Writes the loop over the steps: a step is two inputs of bf16, or one of fp32, so four bytes of each row."""

    def __init__(
        self,
        builder: Any,
        rows: int,
        is_bf16: bool,
        x: Any,
        x_row: Any,
        w: Any,
        steps: Any,
        later: Any,
        out: Any,
        out_row: Any,
    ) -> None:
        self._builder, self._rows, self._is_bf16 = builder, rows, is_bf16
        self._x = [self._offset(x, builder.mul(x_row, self._whole(row))) for row in range(rows)]
        self._out = [self._offset(out, builder.mul(out_row, self._whole(row))) for row in range(rows)]
        self._w, self._steps, self._later = w, steps, later
        self._element = _WORDS if is_bf16 else _VECTOR
        self._dot = self._pairs if is_bf16 else self._fused

    def write(self) -> None:
        """Write it at the builder's place."""
        sums = self._over_steps(self._step)
        for row, parts in enumerate(sums):
            for part, total in enumerate(parts):
                self._store(total, row, part)

    def _step(self, step: Any, sums: list[list[Any]]) -> list[list[Any]]:
        builder = self._builder
        block = self._offset(self._w, builder.mul(step, self._whole(4 * COLUMNS)))
        for line in range(4):
            self._ask_for(self._offset(block, self._whole(_AHEAD_BYTES + 64 * line)))
        self._ask_for(self._offset(self._later, builder.mul(step, self._whole(4 * COLUMNS))))
        weights = [
            builder.load(self._pointer(self._offset(block, self._whole(64 * part)), self._element), align=64)
            for part in range(_PARTS)
        ]
        following = []
        for row, parts in enumerate(sums):
            at = self._offset(self._x[row], builder.mul(step, self._whole(4)))
            value = self._same(builder.load(self._pointer(at, self._element.element), align=4))
            following.append([self._dot(value, weight, total) for weight, total in zip(weights, parts, strict=True)])
        return following

    def _over_steps(self, body: Callable[[Any, list[list[Any]]], list[list[Any]]]) -> list[list[Any]]:
        builder, before = self._builder, self._builder.block
        loop, after = builder.append_basic_block("steps"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(_I64)
        sums = [[builder.phi(_VECTOR) for _ in range(_PARTS)] for _ in range(self._rows)]
        new = body(step, sums)
        following = builder.add(step, self._whole(1))
        step.add_incoming(self._whole(0), before)
        step.add_incoming(following, loop)
        for parts, new_parts in zip(sums, new, strict=True):
            for total, new_total in zip(parts, new_parts, strict=True):
                total.add_incoming(ir.Constant(_VECTOR, [0.0] * _LANES), before)
                total.add_incoming(new_total, loop)
        builder.cbranch(builder.icmp_signed("<", following, self._steps), loop, after)
        builder.position_at_end(after)
        return new

    def _store(self, total: Any, row: int, part: int) -> None:
        builder = self._builder
        if not self._is_bf16:
            at = self._offset(self._out[row], self._whole(4 * _LANES * part))
            builder.store(total, self._pointer(at, _VECTOR), align=4)
            return
        narrow = ir.FunctionType(_HALVES, [_VECTOR])
        rounded = builder.asm(narrow, "vcvtneps2bf16 $1, $0", "=v,v", [total], side_effect=False)
        at = self._offset(self._out[row], self._whole(2 * _LANES * part))
        builder.store(rounded, self._pointer(at, _HALVES), align=2)

    def _pairs(self, x: Any, w: Any, total: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_WORDS, _WORDS, _VECTOR])
        return self._builder.asm(kind, "vdpbf16ps $2, $1, $0", "=v,v,v,0", [x, w, total], side_effect=False)

    def _fused(self, x: Any, w: Any, total: Any) -> Any:
        return self._builder.fadd(self._builder.fmul(x, w, flags=["contract"]), total, flags=["contract"])

    def _same(self, value: Any) -> Any:
        """A vector of nothing but the value."""
        first = self._builder.insert_element(ir.Constant(self._element, ir.Undefined), value, ir.Constant(_I32, 0))
        return self._builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES))

    def _ask_for(self, at: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [_I64])
        self._builder.asm(kind, "prefetcht0 ($0)", "r", [at], side_effect=True)

    def _pointer(self, address: Any, to: Any) -> Any:
        return self._builder.inttoptr(address, to.as_pointer())

    def _offset(self, address: Any, by: Any) -> Any:
        return self._builder.add(address, by)

    def _whole(self, number: int) -> Any:
        return ir.Constant(_I64, number)
