"""What lies between the matrix products of an RWKV-7 layer: each kernel is one pass over its data.

Tokens lie one after the other, those of a segment together; C is the width, N the tokens, H the heads. The residual
stream and the WKV states are fp32, what goes into a product is of the model's number format. A body's table begins as
`native` says and goes on as its first lines read it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workers.fused.head import HEAD, sweep
from workers.fused.native import (
    FIRST,
    TASKS,
    floats,
    inlined,
    integers,
    load,
    numbers,
    size,
    store,
    ticket,
    two_to,
    worker,
)

SCRATCH = 10 * HEAD
"""Floats that a thread of `time_mix` needs for itself."""

_NORM_EPS = np.float32(1e-5)
_GROUP_NORM_EPS = np.float32(64e-5)
_LEAST_NORM = np.float32(1e-12)
_DECAY = np.float32(-0.606531)  # -exp(-0.5)
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LEAST_EXPONENT, _LARGEST_EXPONENT = np.float32(-87), np.float32(88)
_LOG2_E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@inlined
def exp(x: Any) -> Any:
    """e to the x within 2 units in the last place (Cephes' polynomial): libm's is not computed for many at a time."""
    x = min(max(x, _LEAST_EXPONENT), _LARGEST_EXPONENT)
    whole = np.floor(x * _LOG2_E + _HALF)
    x = x - whole * _LN2_HIGH - whole * _LN2_LOW
    p = ((((_P0 * x + _P1) * x + _P2) * x + _P3) * x + _P4) * x + _P5
    return (p * x * x + x + _ONE) * two_to(whole)


@inlined
def sigmoid(x: Any) -> Any:
    return _ONE / (_ONE + exp(-x))


@inlined
def _norm(x: Any, delta: Any, weight: Any, bias: Any, width: Any, at: Any, out: Any, out_at: Any) -> None:
    """out = layer_norm(x + delta), one token; x and delta begin at `at`."""
    total = _ZERO
    for j in range(width):
        total += load(x, at + j) + load(delta, at + j)
    mean = total / np.float32(width)
    squares = _ZERO
    for j in range(width):
        off = load(x, at + j) + load(delta, at + j) - mean
        squares += off * off
    scale = _ONE / np.sqrt(squares / np.float32(width) + _NORM_EPS)
    for j in range(width):
        normed = (load(x, at + j) + load(delta, at + j) - mean) * scale
        store(out, out_at + j, normed * load(weight, j) + load(bias, j))


@inlined
def _mix(h: Any, at: Any, old: Any, old_at: Any, mix: Any, width: Any, out: Any) -> None:
    """out = h + (old - h) * mix, one token; h and out begin at `at`."""
    for j in range(width):
        now = load(h, at + j)
        store(out, at + j, now + (load(old, old_at + j) - now) * load(mix, j))


def enter_time(table: Any) -> None:
    """x' = x + delta; h = ln1(x'); the six mixes of h with the token before.

    A token's `before` is the token of that index, or the shift of slot -1 - index.
    """
    tasks, count, chunk, delta = size(table, TASKS), size(table, FIRST), size(table, FIRST + 1), numbers(table, 5)
    width, before, x, x_out = size(table, 6), integers(table, 7), floats(table, 8), floats(table, 9)
    weight, bias, shift, h = numbers(table, 10), numbers(table, 11), numbers(table, 12), numbers(table, 13)
    scratch, mix_r, mix_k, mix_v = numbers(table, 14), numbers(table, 15), numbers(table, 16), numbers(table, 17)
    mix_w, mix_a, mix_g = numbers(table, 18), numbers(table, 19), numbers(table, 20)
    xr, xk, xv, xw = numbers(table, 21), numbers(table, 22), numbers(table, 23), numbers(table, 24)
    xa, xg = numbers(table, 25), numbers(table, 26)
    while True:
        task = ticket(table)
        if task >= tasks:
            return
        low = task * chunk
        for t in range(low, min(count, low + chunk)):
            at, index = t * width, load(before, t)
            for j in range(width):
                store(x_out, at + j, load(x, at + j) + load(delta, at + j))
            _norm(x, delta, weight, bias, width, at, h, at)
            if index < 0:
                old, old_at = shift, (-1 - index) * width
            elif t == low:  # another thread's, which need not be there yet
                _norm(x, delta, weight, bias, width, index * width, scratch, task * width)
                old, old_at = scratch, task * width
            else:
                old, old_at = h, index * width
            _mix(h, at, old, old_at, mix_r, width, xr)
            _mix(h, at, old, old_at, mix_k, width, xk)
            _mix(h, at, old, old_at, mix_v, width, xv)
            _mix(h, at, old, old_at, mix_w, width, xw)
            _mix(h, at, old, old_at, mix_a, width, xa)
            _mix(h, at, old, old_at, mix_g, width, xg)


def enter_channel(table: Any) -> None:
    """x' = x + delta; h = ln2(x'); the mix of h with the token before."""
    tasks, count, chunk, delta = size(table, TASKS), size(table, FIRST), size(table, FIRST + 1), numbers(table, 5)
    width, before, x, x_out = size(table, 6), integers(table, 7), floats(table, 8), floats(table, 9)
    weight, bias, shift, h = numbers(table, 10), numbers(table, 11), numbers(table, 12), numbers(table, 13)
    scratch, mix, out = numbers(table, 14), numbers(table, 15), numbers(table, 16)
    while True:
        task = ticket(table)
        if task >= tasks:
            return
        low = task * chunk
        for t in range(low, min(count, low + chunk)):
            at, index = t * width, load(before, t)
            for j in range(width):
                store(x_out, at + j, load(x, at + j) + load(delta, at + j))
            _norm(x, delta, weight, bias, width, at, h, at)
            if index < 0:
                old, old_at = shift, (-1 - index) * width
            elif t == low:
                _norm(x, delta, weight, bias, width, index * width, scratch, task * width)
                old, old_at = scratch, task * width
            else:
                old, old_at = h, index * width
            _mix(h, at, old, old_at, mix, width, out)


def squash(table: Any) -> None:
    """tanh of a low rank's columns before `tanhs`, and sigmoid of those from `low` to `high`, in place: w's and g's."""
    tasks, hidden = size(table, TASKS), numbers(table, FIRST)
    columns, tanhs, low, high = size(table, 4), size(table, 5), size(table, 6), size(table, 7)
    while True:
        t = ticket(table)
        if t >= tasks:
            return
        at = t * columns
        for j in range(tanhs):
            store(hidden, at + j, _TWO * sigmoid(_TWO * load(hidden, at + j)) - _ONE)
        for j in range(low, high):
            store(hidden, at + j, sigmoid(load(hidden, at + j)))


def time_mix(table: Any) -> None:
    """A head's recurrence over a segment, S <- S diag(w) + (S a) b^T + v k^T and y = S r, and all around it.

    What comes out is (group_norm(y) + bonus) * g; the segment's last h becomes the slot's shift.
    """
    tasks, rs, ks, vs = size(table, TASKS), numbers(table, FIRST), numbers(table, 4), numbers(table, 5)
    ws, as_, gs = numbers(table, 6), numbers(table, 7), numbers(table, 8)
    pulls, firsts = numbers(table, 9), numbers(table, 10)
    heads, is_first = size(table, 11), size(table, 12)
    starts, slots, states = integers(table, 13), integers(table, 14), floats(table, 15)
    shift, h = numbers(table, 16), numbers(table, 17)
    w0, a0, v0, k_k = numbers(table, 18), numbers(table, 19), numbers(table, 20), numbers(table, 21)
    k_a, r_k, weight, bias = numbers(table, 22), numbers(table, 23), numbers(table, 24), numbers(table, 25)
    out, own = numbers(table, 26), floats(table, 27)
    width, mine = heads * HEAD, worker(table) * SCRATCH
    r, w, k, v, a = mine, mine + HEAD, mine + 2 * HEAD, mine + 3 * HEAD, mine + 4 * HEAD
    b, y, kk = mine + 5 * HEAD, mine + 6 * HEAD, mine + 7 * HEAD
    while True:
        task = ticket(table)
        if task >= tasks:
            return
        segment, head = task // heads, task % heads
        c, slot = head * HEAD, load(slots, segment)
        state = (slot * heads + head) * HEAD * HEAD
        first_token, end = load(starts, segment), load(starts, segment + 1)
        for t in range(first_token, end):
            at = t * width + c
            for j in range(HEAD):
                store(own, r + j, load(rs, at + j))
                store(own, w + j, exp(_DECAY * sigmoid(load(w0, c + j) + load(ws, at + j))))
            squares = _ZERO
            for j in range(HEAD):
                key = load(ks, at + j) * load(k_k, c + j)
                store(own, kk + j, key)
                squares += key * key
            scale = _ONE / max(np.sqrt(squares), _LEAST_NORM)
            for j in range(HEAD):
                rate = sigmoid(load(a0, c + j) + load(as_, at + j))
                key = load(own, kk + j) * scale
                store(own, a + j, -key)
                store(own, b + j, key * rate)
                store(own, k + j, load(ks, at + j) * (_ONE + (rate - _ONE) * load(k_a, c + j)))
            if is_first:
                for j in range(HEAD):
                    store(own, v + j, load(vs, at + j))
            else:
                for j in range(HEAD):
                    value = load(vs, at + j)
                    pull = sigmoid(load(v0, c + j) + load(pulls, at + j))
                    store(own, v + j, value + (load(firsts, at + j) - value) * pull)
            sweep(states, state, own, r, w, k, v, a, b, y)
            total = _ZERO
            for j in range(HEAD):
                total += load(own, y + j)
            mean = total / np.float32(HEAD)
            squares, bonus = _ZERO, _ZERO
            for j in range(HEAD):
                off = load(own, y + j) - mean
                squares += off * off
                bonus += load(own, r + j) * load(own, k + j) * load(r_k, c + j)
            scale = _ONE / np.sqrt(squares / np.float32(HEAD) + _GROUP_NORM_EPS)
            for j in range(HEAD):
                normed = (load(own, y + j) - mean) * scale * load(weight, c + j) + load(bias, c + j)
                store(out, at + j, (normed + bonus * load(own, v + j)) * load(gs, at + j))
        last = (end - 1) * width + c
        for j in range(HEAD):
            store(shift, slot * width + c + j, load(h, last + j))


def square(table: Any) -> None:
    """relu(k)^2 in place; the last h of each segment becomes its slot's shift."""
    tasks, k, inner, width = size(table, TASKS), numbers(table, FIRST), size(table, 4), size(table, 5)
    leaves, shift, h = integers(table, 6), numbers(table, 7), numbers(table, 8)
    while True:
        t = ticket(table)
        if t >= tasks:
            return
        at = t * inner
        for j in range(inner):
            key = load(k, at + j)
            store(k, at + j, _ZERO if key < _ZERO else key * key)
        slot = load(leaves, t)
        if slot >= 0:
            for j in range(width):
                store(shift, slot * width + j, load(h, t * width + j))
