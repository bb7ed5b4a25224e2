"""The layers of RWKV-7 for a CPU: torch's matrix products, and compiled kernels between them."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from workers.batch import Batch
from workers.fused import kernels
from workers.fused.native import Body, Kernel, compiled
from workers.slots import Slots

Block = dict[str, Tensor]

_TASKS_A_THREAD = 4
"""Into how many parts a pass over tokens is cut: enough for threads to end together."""


class Layers:
    """All layers of a model, and the states that they read and leave behind; batches of up to `max_tokens` tokens."""

    def __init__(self, blocks: list[Block], slots: Slots, max_tokens: int) -> None:
        self._room = _Room(blocks, slots, max_tokens)
        self._layers = [_Layer(block, layer, slots, self._room) for layer, block in enumerate(blocks)]

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """What the layers make of x (N, C), of the wanted tokens; the segments' slots move on."""
        room, count = self._room, len(x)
        room.describe(batch)
        room.x[0, :count] = x
        room.delta[:count] = 0
        rows = room.rows(count)
        for layer in self._layers:
            layer.run(rows, count, len(batch.segments))
        wanted = torch.tensor(batch.wanted, dtype=torch.long)
        return (room.x[0, wanted] + room.delta[wanted]).to(x.dtype)


class _Room:
    """Memory for one batch, which all layers use one after the other."""

    def __init__(self, blocks: list[Block], slots: Slots, max_tokens: int) -> None:
        dtype, (max_inner, width) = slots.shift.dtype, blocks[0]["ffn.key.weight"].shape
        max_inner = max(block["ffn.key.weight"].shape[0] for block in blocks)
        self.threads = torch.get_num_threads()
        self.x = torch.empty(2, max_tokens, width)
        self.before, self.leaves = (torch.empty(max_tokens, dtype=torch.int64) for _ in range(2))
        self.starts, self.slots = (torch.empty(slots.count + 1, dtype=torch.int64) for _ in range(2))
        self.scratch = torch.empty(_TASKS_A_THREAD * self.threads, width, dtype=dtype)
        self.own = torch.empty(self.threads, kernels.SCRATCH)
        names = "delta h xr xk xv r k v w a g pull first y"
        self._buffers = {name: torch.empty(max_tokens, width, dtype=dtype) for name in names.split()}
        self._buffers["both"] = torch.empty(max_tokens, 2 * width, dtype=dtype)
        self._buffers["inner"] = torch.empty(max_tokens * max_inner, dtype=dtype)
        self._buffers["hidden"] = torch.empty(max_tokens * max(map(_low_rank, blocks)), dtype=dtype)
        self.delta = self._buffers["delta"]
        self.rows = lru_cache(64)(self._rows)

    def _rows(self, count: int) -> SimpleNamespace:
        """The buffers of width C, of the first `count` tokens."""
        return SimpleNamespace(**{name: buffer[:count] for name, buffer in self._buffers.items() if buffer.dim() == 2})

    def flat(self, name: str, count: int, columns: int) -> Tensor:
        """A buffer as (count, columns)."""
        return self._buffers[name][: count * columns].view(count, columns)

    def at(self, *names: str) -> list[int]:
        """The addresses of buffers."""
        return [self._buffers[name].data_ptr() for name in names]

    def describe(self, batch: Batch) -> None:
        """Note where the batch's segments begin and end, and what comes before each token."""
        starts, slots = batch.starts, batch.slots
        before = torch.arange(-1, starts[-1] - 1)
        before[starts[:-1]] = -1 - torch.tensor(slots)
        leaves = torch.full((starts[-1],), -1)
        leaves[batch.last] = torch.tensor(slots)
        self.before[: starts[-1]], self.leaves[: starts[-1]] = before, leaves
        self.starts[: len(starts)], self.slots[: len(slots)] = torch.tensor(starts), torch.tensor(slots)


class _Layer:
    """One layer's weights, as its products want them, and its kernels."""

    def __init__(self, block: Block, layer: int, slots: Slots, room: _Room) -> None:
        self._room = room
        self._heads = slots.wkv.shape[2]
        self._block = block  # the kernels know addresses alone
        self._receptance, self._key, self._value, self._output = (
            block[f"att.{name}.weight"].t() for name in ("receptance", "key", "value", "output")
        )
        self._into, self._out_of = block["ffn.key.weight"].t(), block["ffn.value.weight"].t()
        self._low, self._columns = _low(block)
        self._raised = [(block[f"att.{name}2"], name) for name in self._columns]
        self._buffer_of = {"w": "w", "a": "a", "v": "pull", "g": "g"}
        self._build(block, layer, slots, room)

    def _build(self, b: Block, layer: int, slots: Slots, room: _Room) -> None:
        dtype, width = slots.shift.dtype, slots.shift.shape[-1]
        time, channel = slots.shift[layer].unbind(0)
        states = slots.wkv[layer]

        def kernel(body: Body, *arguments: int | Tensor) -> Kernel:
            addresses = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
            return Kernel(compiled(body, dtype), addresses, room.threads)

        x, x_out = room.x
        self._enter_time = kernel(
            kernels.enter_time, 0, 0, width, room.before, x, *room.at("delta"), x_out,
            b["ln1.weight"], b["ln1.bias"], time, *room.at("h"), room.scratch,
            b["att.x_r"], b["att.x_k"], b["att.x_v"], *room.at("xr", "xk", "xv", "both"),
        )  # fmt: skip
        ranks = {name: columns.stop - columns.start for name, columns in self._columns.items()}
        self._squash = kernel(kernels.squash, self._low.shape[1], ranks["w"], ranks["g"], *room.at("hidden"))
        self._time_mix = kernel(
            kernels.time_mix, self._heads, int(layer == 0), room.starts, room.slots, states, time,
            *room.at("h", "r", "k", "v", "w", "a", "g", "pull", "first"),
            b["att.w0"], b["att.a0"], b.get("att.v0", b["att.a0"]), b["att.k_k"],
            b["att.k_a"], b["att.r_k"], b["att.ln_x.weight"], b["att.ln_x.bias"], *room.at("y"), room.own,
        )  # fmt: skip
        self._enter_channel = kernel(
            kernels.enter_channel, 0, 0, width, room.before, x_out, *room.at("delta"), x,
            b["ln2.weight"], b["ln2.bias"], channel, *room.at("h"), room.scratch, b["ffn.x_k"], *room.at("xk"),
        )  # fmt: skip
        inner = len(b["ffn.key.weight"])
        self._square = kernel(kernels.square, inner, width, room.leaves, *room.at("inner"), channel, *room.at("h"))

    def run(self, rows: SimpleNamespace, count: int, segments: int) -> None:
        """One layer over `count` tokens of as many segments."""
        chunk = -(-count // (_TASKS_A_THREAD * self._room.threads))
        chunks = -(-count // chunk)
        hidden = self._room.flat("hidden", count, self._low.shape[1])
        inner = self._room.flat("inner", count, self._into.shape[1])
        self._enter_time(chunks, count, chunk)
        torch.mm(rows.xr, self._receptance, out=rows.r)
        torch.mm(rows.xk, self._key, out=rows.k)
        torch.mm(rows.xv, self._value, out=rows.v)
        torch.mm(rows.both, self._low, out=hidden)
        self._squash(count)
        for weight, name in self._raised:
            torch.mm(hidden[:, self._columns[name]], weight, out=getattr(rows, self._buffer_of[name]))
        self._time_mix(segments * self._heads)
        torch.mm(rows.y, self._output, out=rows.delta)
        self._enter_channel(chunks, count, chunk)
        torch.mm(rows.xk, self._into, out=inner)
        self._square(count)
        torch.mm(inner, self._out_of, out=rows.delta)


def _low_rank(block: Block) -> int:
    return sum(block[f"att.{name}1"].shape[1] for name in "wavg" if f"att.{name}1" in block)


def _low(block: Block) -> tuple[Tensor, dict[str, slice]]:
    """The first factors of a layer's low ranks as one matrix (2C, R), and which of its columns is whose.

    (h + d * mix) @ m = h @ m + d @ (diag(mix) m), for d the difference to the token before.
    """
    parts, columns, start = [], {}, 0
    for name in "wavg":
        if f"att.{name}1" in block:
            factor = block[f"att.{name}1"]
            mixed = factor.float() * block[f"att.x_{name}"].float().unsqueeze(1)
            parts.append(torch.cat((factor, mixed.to(factor.dtype))))
            columns[name] = slice(start, start := start + factor.shape[1])
    return torch.cat(parts, 1), columns
