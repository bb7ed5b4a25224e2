"""The layers of RWKV-7 for a CPU: matrix products, and compiled kernels between them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

from workers.batch import Batch
from workers.fused import kernels
from workers.fused.native import Body, Kernel, compiled
from workers.fused.products import Product, Products, padded, products, room_for
from workers.slots import Slots
from workers.stopwatch import Stopwatch

Block = dict[str, Tensor]

_TASKS_A_THREAD = 4
"""Into how many parts a pass over tokens is cut: enough for threads to end together."""


class Layers:
    """All layers of a model, and the states that they read and leave behind; batches of up to `max_tokens` tokens."""

    def __init__(
        self, blocks: Iterable[Block], slots: Slots, max_tokens: int, watch: Stopwatch, memory: int = 0
    ) -> None:
        """`memory` is how many elements `self.memory` is to have at least."""
        blocks = iter(blocks)
        first = next(blocks)
        self._room = _Room(slots, max_tokens, len(first["ffn.key.weight"]), memory)
        self.memory = self._room.memory
        """What the layers work in, which means nothing when `forward` has returned."""
        self._watch = watch
        self._layers = [_Layer(block, layer, slots, self._room) for layer, block in enumerate(chain([first], blocks))]

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """What the layers make of x (N, C), of the wanted tokens; the segments' slots move on."""
        room, count = self._room, len(x)
        room.describe(batch)
        room.x[0, :count], room.delta[:count] = x, 0
        for layer in self._layers:
            layer.run(count, len(batch.segments), self._watch)
        wanted = torch.tensor(batch.wanted, dtype=torch.long)
        left: Tensor = room.x[0, wanted] + room.delta[wanted]
        return left.to(x.dtype)


class _Room:
    """Memory for one batch, which all layers use one after the other; (N, C) each, where nothing else is said.

    What the low ranks are raised to, and y, take the place of what the first products have read; the inner channels
    take that of r, k and v.
    """

    def __init__(self, slots: Slots, max_tokens: int, inner: int, memory: int) -> None:
        dtype, width = slots.shift.dtype, slots.shift.shape[-1]
        self._hidden: dict[int, Tensor] = {}
        self._dtype = dtype
        self.threads = torch.get_num_threads()
        self.max_tokens = max_tokens
        self.before, self.leaves = (torch.empty(max_tokens, dtype=torch.int64) for _ in range(2))
        self.starts, self.slots = (torch.empty(slots.count + 1, dtype=torch.int64) for _ in range(2))
        self.scratch = torch.empty(_TASKS_A_THREAD * self.threads, width, dtype=dtype)
        self.own = torch.empty(self.threads, kernels.SCRATCH)

        self.x = torch.empty(2, max_tokens, width)
        table = max_tokens * width
        several = max(3 * table, max_tokens * padded(inner))
        self.memory = torch.empty(max(9 * table + several, memory), dtype=dtype)
        self.h, self.first, self.delta, *early = self.memory[: 9 * table].view(9, max_tokens, width)
        self.mixed = dict(zip("rkvwag", early, strict=True))
        self.raised = dict(zip("wagv", early, strict=False))
        self.y = early[-1]
        late = self.memory[9 * table :]
        self.r, self.k, self.v = late[: 3 * table].view(3, max_tokens, width)
        self.inner = late[: max_tokens * padded(inner)].view(max_tokens, -1)

    def hidden(self, columns: int) -> Tensor:
        """For the low ranks, (N, columns) and more; the same for all layers that want as many."""
        return self._hidden.setdefault(columns, room_for(self.max_tokens, columns, self._dtype))

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
    """One layer's weights, as its products want them, and its kernels, all bound to the room's memory."""

    def __init__(self, block: Block, layer: int, slots: Slots, room: _Room) -> None:
        self._room = room
        self._heads = slots.wkv.shape[2]
        columns, inner = _columns(block), len(block["ffn.key.weight"])
        hidden = room.hidden(sum(padded(where.stop - where.start) for where in columns.values()))
        value = room.first if layer == 0 else room.v

        def several(*parts: tuple[Tensor, Tensor, Tensor]) -> Products:
            return products([Product(*part) for part in parts], room.threads)

        self._enter = several(
            (room.mixed["r"], block["att.receptance.weight"], room.r),
            (room.mixed["k"], block["att.key.weight"], room.k),
            (room.mixed["v"], block["att.value.weight"], value),
            *(
                (room.mixed[name], block[f"att.{name}1"].t(), hidden[:, where.start :])
                for name, where in columns.items()
            ),
        )
        self._raise = several(
            *((hidden[:, where], block[f"att.{name}2"].t(), room.raised[name]) for name, where in columns.items())
        )
        self._leave = several((room.y, block["att.output.weight"], room.delta))
        self._into = several((room.mixed["k"], block["ffn.key.weight"], room.inner))
        self._out_of = several((room.inner[:, :inner], block["ffn.value.weight"], room.delta))
        self._build(block, layer, slots, columns, hidden, value)

    def _build(
        self, block: Block, layer: int, slots: Slots, columns: dict[str, slice], hidden: Tensor, value: Tensor
    ) -> None:
        room, dtype, width = self._room, slots.shift.dtype, slots.shift.shape[-1]
        time, channel = slots.shift[layer].unbind(0)
        x, x_out = room.x
        b = {name: tensor for name, tensor in block.items() if tensor.dim() == 1 or name == "att.r_k"}
        self._vectors = b  # the kernels know addresses alone

        def kernel(body: Body, sizes: int, *arguments: int | Tensor) -> Kernel:
            """`sizes` is how many arguments every call gives."""
            addresses = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
            return Kernel(compiled(body, dtype), [0] * sizes + addresses, room.threads)

        self._enter_time = kernel(
            kernels.enter_time, 2, room.delta, width, room.before, x, x_out,
            b["ln1.weight"], b["ln1.bias"], time, room.h, room.scratch,
            *(b[f"att.x_{name}"] for name in room.mixed), *room.mixed.values(),
        )  # fmt: skip
        self._squash = kernel(
            kernels.squash, 0, hidden, hidden.shape[1], columns["w"].stop, columns["g"].start, columns["g"].stop
        )
        self._time_mix = kernel(
            kernels.time_mix, 0, room.r, room.k, value, *(room.raised[name] for name in "wagv"), room.first,
            self._heads, int(layer == 0), room.starts, room.slots, slots.wkv[layer], time, room.h,
            b["att.w0"], b["att.a0"], b.get("att.v0", b["att.a0"]), b["att.k_k"],
            b["att.k_a"], b["att.r_k"], b["att.ln_x.weight"], b["att.ln_x.bias"], room.y, room.own,
        )  # fmt: skip
        self._enter_channel = kernel(
            kernels.enter_channel, 2, room.delta, width, room.before, x_out, x,
            b["ln2.weight"], b["ln2.bias"], channel, room.h, room.scratch, b["ffn.x_k"], room.mixed["k"],
        )  # fmt: skip
        self._square = kernel(kernels.square, 0, room.inner, room.inner.shape[1], width, room.leaves, channel, room.h)

    def run(self, count: int, segments: int, watch: Stopwatch) -> None:
        """One layer over so many tokens of as many segments: from what the room's `x` and `delta` hold to the same."""
        chunk = -(-count // (_TASKS_A_THREAD * self._room.threads))
        chunks = -(-count // chunk)
        self._enter_time(chunks, count, chunk)
        watch.lap("overhead")
        self._enter(count)
        watch.lap("linear")
        self._squash(count)
        watch.lap("overhead")
        self._raise(count)
        watch.lap("linear")
        self._time_mix(segments * self._heads)
        watch.lap("wkv")
        self._leave(count)
        watch.lap("linear")
        self._enter_channel(chunks, count, chunk)
        watch.lap("overhead")
        self._into(count)
        watch.lap("linear")
        self._square(count)
        watch.lap("overhead")
        self._out_of(count)
        watch.lap("linear")


def _columns(block: Block) -> dict[str, slice]:
    """Which of the hidden columns are whose: each low rank's begin with a block of the products."""
    columns, start = {}, 0
    for name in "wagv":
        if f"att.{name}1" in block:
            rank = block[f"att.{name}1"].shape[1]
            columns[name] = slice(start, start + rank)
            start += padded(rank)
    return columns
