"""Matrix products on packed weights, several of them in one pass: each thread takes the next block of 64 outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workers.fused.native import FIRST, TASKS, integers, load, size, ticket
from workers.fused.tile import COLUMNS, ROWS, tile

_tile_1, _tile_2, _tile_3, _tile_4, _tile_5, _tile_6 = (tile(rows) for rows in range(1, ROWS + 1))

_X, _X_ROW, _WEIGHT, _STEPS, _OUT, _OUT_ROW, _OUT_BLOCK, _BLOCKS, _ENTRIES = range(9)
"""What the kernel is told of a product: addresses, bytes, and counts; and how many entries these are."""


def multiply(table: Any) -> None:
    """out = x @ w for every product of a list, over the first `count` rows, which come in `groups` parts."""
    tasks, count, groups, products = size(table, TASKS), size(table, FIRST), size(table, FIRST + 1), integers(table, 5)
    threads = size(table, 6)
    group_rows = ((count + groups - 1) // groups + ROWS - 1) // ROWS * ROWS
    while True:
        task = ticket(table)
        if task >= tasks:
            return
        group, at = task % groups, 0
        block = task // groups
        while block >= load(products, at + _BLOCKS):
            block -= load(products, at + _BLOCKS)
            at += _ENTRIES
        x_row, out_row, steps = load(products, at + _X_ROW), load(products, at + _OUT_ROW), load(products, at + _STEPS)
        row, end = group * group_rows, min(count, (group + 1) * group_rows)
        x = load(products, at + _X) + row * x_row
        out = load(products, at + _OUT) + row * out_row + block * load(products, at + _OUT_BLOCK)
        w = load(products, at + _WEIGHT) + block * steps * 4 * COLUMNS
        later = w  # at first the block itself comes from memory, and needs all that this gives
        while row < end:
            left = end - row
            if left >= 6:
                _tile_6(table, x, x_row, w, steps, later, out, out_row)
            elif left == 5:
                _tile_5(table, x, x_row, w, steps, later, out, out_row)
            elif left == 4:
                _tile_4(table, x, x_row, w, steps, later, out, out_row)
            elif left == 3:
                _tile_3(table, x, x_row, w, steps, later, out, out_row)
            elif left == 2:
                _tile_2(table, x, x_row, w, steps, later, out, out_row)
            else:
                _tile_1(table, x, x_row, w, steps, later, out, out_row)
            later = later + 64 if later != w else w + threads * steps * 4 * COLUMNS
            row += ROWS
            x += ROWS * x_row
            out += ROWS * out_row


def packed(weight: Tensor) -> Tensor:
    """A weight (out, in) in blocks of 64 outputs, and in these by inputs, of bf16 two at a time."""
    outputs, inputs = weight.shape
    a_step = 4 // weight.element_size()
    blocks = -(-outputs // COLUMNS)
    filled = torch.zeros(blocks * COLUMNS, inputs, dtype=weight.dtype)
    filled[:outputs] = weight
    return filled.view(blocks, COLUMNS, inputs // a_step, a_step).transpose(1, 2).contiguous()


def described(x: Tensor, weight: Tensor, out: Tensor) -> list[int]:
    """What the kernel is told of a product with a packed weight. None of the three may move."""
    size, (blocks, steps) = x.element_size(), weight.shape[:2]
    x_row, out_row = size * x.stride(0), size * out.stride(0)
    return [x.data_ptr(), x_row, weight.data_ptr(), steps, out.data_ptr(), out_row, size * COLUMNS, blocks]
