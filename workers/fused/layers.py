"""The layers of RWKV-7 for a CPU: torch's matrix products, and compiled kernels between them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from workers.batch import Batch
from workers.fused import kernels
from workers.fused.linear import linear
from workers.fused.native import Body, Kernel, compiled
from workers.slots import Slots
from workers.stopwatch import Stopwatch

Block = dict[str, Tensor]

_TASKS_A_THREAD = 4
"""Into how many parts a pass over tokens is cut: enough for threads to end together."""


class Layers:
    """All layers of a model, and the states that they read and leave behind; batches of up to `max_tokens` tokens."""

    def __init__(self, blocks: Iterable[Block], slots: Slots, max_tokens: int, watch: Stopwatch) -> None:
        self._room = _Room(slots, max_tokens)
        self._watch = watch
        self._layers = [_Layer(block, layer, slots, self._room) for layer, block in enumerate(blocks)]

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """What the layers make of x (N, C), of the wanted tokens; the segments' slots move on."""
        room, count = self._room, len(x)
        room.describe(batch)
        room.x[0, :count] = x
        delta, first = torch.zeros_like(x), None
        for layer in self._layers:
            delta, first = layer.run(delta, first, len(batch.segments), self._watch)
        wanted = torch.tensor(batch.wanted, dtype=torch.long)
        return (room.x[0, wanted] + delta[wanted]).to(x.dtype)


class _Room:
    """Memory for one batch, which all layers use one after the other."""

    def __init__(self, slots: Slots, max_tokens: int) -> None:
        dtype, width = slots.shift.dtype, slots.shift.shape[-1]
        self.threads = torch.get_num_threads()
        self.x = torch.empty(2, max_tokens, width)
        self.before, self.leaves = (torch.empty(max_tokens, dtype=torch.int64) for _ in range(2))
        self.starts, self.slots = (torch.empty(slots.count + 1, dtype=torch.int64) for _ in range(2))
        self.scratch = torch.empty(_TASKS_A_THREAD * self.threads, width, dtype=dtype)
        self.own = torch.empty(self.threads, kernels.SCRATCH)
        self.h, self.xr, self.xk, self.xv, self.y = (torch.empty(max_tokens, width, dtype=dtype) for _ in range(5))
        self.both = torch.empty(max_tokens, 2 * width, dtype=dtype)

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
        self._receptance, self._key, self._value, self._output = (
            linear(block[f"att.{name}.weight"]) for name in ("receptance", "key", "value", "output")
        )
        self._into, self._out_of = linear(block["ffn.key.weight"]), linear(block["ffn.value.weight"])
        low, columns = _low(block)
        self._low = linear(low)
        self._raised = [(columns[name], block[f"att.{name}2"]) for name in columns]
        self._build(block, layer, columns, slots, room)

    def _build(self, block: Block, layer: int, columns: dict[str, slice], slots: Slots, room: _Room) -> None:
        dtype, width = slots.shift.dtype, slots.shift.shape[-1]
        time, channel = slots.shift[layer].unbind(0)
        states = slots.wkv[layer]
        x, x_out = room.x
        b = {name: tensor for name, tensor in block.items() if tensor.dim() == 1 or name == "att.r_k"}
        self._vectors = b  # the kernels know addresses alone

        def kernel(body: Body, sizes: int, *arguments: int | Tensor) -> Kernel:
            """`sizes` is how many arguments every call gives."""
            addresses = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
            return Kernel(compiled(body, dtype), [0] * sizes + addresses, room.threads)

        self._enter_time = kernel(
            kernels.enter_time, 3, width, room.before, x, x_out,
            b["ln1.weight"], b["ln1.bias"], time, room.h, room.scratch,
            b["att.x_r"], b["att.x_k"], b["att.x_v"], room.xr, room.xk, room.xv, room.both,
        )  # fmt: skip
        w, g, last = columns["w"], columns["g"], [*columns.values()][-1]
        self._squash = kernel(kernels.squash, 1, last.stop, w.stop, g.start, g.stop)
        self._time_mix = kernel(
            kernels.time_mix, 8, self._heads, int(layer == 0), room.starts, room.slots, states, time, room.h,
            b["att.w0"], b["att.a0"], b.get("att.v0", b["att.a0"]), b["att.k_k"],
            b["att.k_a"], b["att.r_k"], b["att.ln_x.weight"], b["att.ln_x.bias"], room.y, room.own,
        )  # fmt: skip
        self._enter_channel = kernel(
            kernels.enter_channel, 3, width, room.before, x_out, x,
            b["ln2.weight"], b["ln2.bias"], channel, room.h, room.scratch, b["ffn.x_k"], room.xk,
        )  # fmt: skip
        self._square = kernel(kernels.square, 1, len(block["ffn.key.weight"]), width, room.leaves, channel, room.h)

    def run(self, delta: Tensor, first: Tensor | None, segments: int, watch: Stopwatch) -> tuple[Tensor, Tensor]:
        """One layer over the tokens of as many segments: what it adds to x + delta, and the first layer's values."""
        room, count = self._room, len(delta)
        chunk = -(-count // (_TASKS_A_THREAD * room.threads))
        chunks = -(-count // chunk)
        self._enter_time(chunks, count, chunk, delta.data_ptr())
        watch.lap("overhead")
        r, k, v = self._receptance(room.xr[:count]), self._key(room.xk[:count]), self._value(room.xv[:count])
        hidden = self._low(room.both[:count])
        watch.lap("linear")
        self._squash(count, hidden.data_ptr())
        watch.lap("overhead")
        raised = [
            hidden[:, columns] @ weight for columns, weight in self._raised
        ]  # of w, a, g and, but in the first, v
        of_low = [part.data_ptr() for part in raised]
        first = v if first is None else first
        pull = of_low[3] if len(of_low) > 3 else 0
        watch.lap("linear")
        self._time_mix(
            segments * self._heads, r.data_ptr(), k.data_ptr(), v.data_ptr(), *of_low[:3], pull, first.data_ptr()
        )
        watch.lap("wkv")
        delta = self._output(room.y[:count])
        watch.lap("linear")
        self._enter_channel(chunks, count, chunk, delta.data_ptr())
        watch.lap("overhead")
        inner = self._into(room.xk[:count])
        watch.lap("linear")
        self._square(count, inner.data_ptr())
        watch.lap("overhead")
        delta = self._out_of(inner)
        watch.lap("linear")
        return delta, first


def _low(block: Block) -> tuple[Tensor, dict[str, slice]]:
    """The first factors of a layer's low ranks as one weight (R, 2C), and which of the hidden columns is whose.

    (h + d * mix) @ m = h @ m + d @ (diag(mix) m), for d the difference to the token before.
    """
    parts, columns, start = [], {}, 0
    for name in "wagv":
        if f"att.{name}1" in block:
            factor = block[f"att.{name}1"]
            mixed = factor.float() * block[f"att.x_{name}"].float().unsqueeze(1)
            parts.append(torch.cat((factor, mixed.to(factor.dtype))))
            columns[name] = slice(start, start := start + factor.shape[1])
    return torch.cat(parts, 1).t(), columns
