"""Choosing the next token of every row of a batch, one pass after another over its logits, and no sorting.

A draw from all tokens is kept if it lies in the nucleus, which the mass and the number of the tokens more probable
than it tell; if it does not, only those are drawn from next. Source: FlashInfer's sampling kernels (arXiv 2501.01005).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workers.fused.kernels import exp
from workers.fused.native import FIRST, TASKS, floats, inlined, integers, load, numbers, size, store, ticket, worker

BLOCK = 256
"""Tokens whose mass is summed up together, so that a draw need not walk through all of them."""

NOT_FINITE = -1
"""What is chosen from logits that make no distribution."""

_ZERO, _ONE = np.float32(0), np.float32(1)
_LOWEST = np.float32(-3e38)
_SCALE = np.float64(2.0**-53)
_G0, _G1, _G2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)


@inlined
def _uniform(key: Any, number: Any) -> Any:
    """The `number`-th of a key's numbers in [0, 1): splitmix64."""
    z = np.uint64(key) + np.uint64(number + 1) * _G0
    z = (z ^ (z >> _S30)) * _G1
    z = (z ^ (z >> _S27)) * _G2
    return np.float64((z ^ (z >> _S31)) >> _S11) * _SCALE


@inlined
def _largest(x: Any, start: Any, end: Any) -> Any:
    """The largest of x[start:end], four at a time: a comparison that minds NaN is not computed for many."""
    a = b = c = d = _LOWEST
    whole = start + (end - start) // 4 * 4
    for j in range(start, whole, 4):
        p, q, r, s = load(x, j), load(x, j + 1), load(x, j + 2), load(x, j + 3)
        a, b, c, d = p if p > a else a, q if q > b else b, r if r > c else c, s if s > d else d
    for j in range(whole, end):
        p = load(x, j)
        a = p if p > a else a
    a, c = b if b > a else a, d if d > c else c
    return c if c > a else a


@inlined
def _mass_above(p: Any, at: Any, count: Any, pivot: Any) -> Any:
    """The sum of p's values above the pivot."""
    total = _ZERO
    for j in range(at, at + count):
        value = load(p, j)
        total += value if value > pivot else _ZERO
    return total


@inlined
def _count_above(p: Any, at: Any, count: Any, pivot: Any) -> Any:
    total = 0
    for j in range(at, at + count):
        total += 1 if load(p, j) > pivot else 0
    return total


@inlined
def _kth(p: Any, at: Any, count: Any, k: Any) -> Any:
    """A value that at least k of p's values reach, and fewer than k surpass: the k-th largest, by bisection."""
    low, high = _ZERO, _ONE
    for _ in range(48):
        middle = (low + high) * np.float32(0.5)
        if middle <= low or middle >= high:
            break
        if _count_above(p, at, count, middle) >= k:
            low = middle
        else:
            high = middle
    return high


@inlined
def _drawn(p: Any, at: Any, count: Any, blocks: Any, blocks_at: Any, pivot: Any, u: Any) -> Any:
    """A token above the pivot, drawn by its mass."""
    total = np.float64(0)
    for block in range(0, count, BLOCK):
        mass = _mass_above(p, at + block, min(BLOCK, count - block), pivot)
        store(blocks, blocks_at + block // BLOCK, mass)
        total += np.float64(mass)
    left = u * total
    last = -1
    for block in range(0, count, BLOCK):
        mass = np.float64(load(blocks, blocks_at + block // BLOCK))
        if left >= mass:
            left -= mass
            if mass > 0:
                last = block
            continue
        for j in range(block, min(count, block + BLOCK)):
            value = load(p, at + j)
            if value > pivot:
                last = j
                left -= np.float64(value)
                if left < 0:
                    return j
        return last
    end = min(count, last + BLOCK)  # u * total was all of it: the last token that has any
    for j in range(last, end):
        if load(p, at + j) > pivot:
            last = j
    return last


def choose(table: Any) -> None:
    """For each row a token and its log-probability by the model; NOT_FINITE where the logits are no distribution.

    Penalties are subtracted first; then come temperature, top-k, and top-p of what top-k leaves. Temperature 0 is
    greedy, the first of equals.
    """
    tasks, vocabulary, banned_count = size(table, TASKS), size(table, FIRST), size(table, 4)
    logits, banned, keys, top_ks = numbers(table, 5), integers(table, 6), integers(table, 7), integers(table, 8)
    temperatures, top_ps = floats(table, 9), floats(table, 10)
    ends, penalised, penalties = integers(table, 11), integers(table, 12), floats(table, 13)
    tokens, logprobs, own, room = integers(table, 14), floats(table, 15), floats(table, 16), size(table, 17)
    p = worker(table) * room
    blocks = p + vocabulary
    while True:
        row = ticket(table)
        if row >= tasks:
            return
        at = row * vocabulary
        spoiled = _ZERO
        for j in range(vocabulary):
            value = load(logits, at + j)
            spoiled += value * _ZERO
            store(own, p + j, value)
        if spoiled != _ZERO:
            store(tokens, row, NOT_FINITE)
            continue
        for i in range(banned_count):
            store(own, p + load(banned, i), _LOWEST)
        top = _largest(own, p, p + vocabulary)
        total = np.float64(0)
        for block in range(0, vocabulary, BLOCK):
            mass = _ZERO
            for j in range(p + block, p + min(vocabulary, block + BLOCK)):
                mass += exp(load(own, j) - top)
            total += np.float64(mass)
        whole = top + np.float32(np.log(total))
        for i in range(load(ends, row), load(ends, row + 1)):
            j = p + load(penalised, i)
            store(own, j, load(own, j) - load(penalties, i))
        if load(ends, row) < load(ends, row + 1):
            top = _largest(own, p, p + vocabulary)
        token = 0
        if load(temperatures, row) == _ZERO:
            while load(own, p + token) < top:
                token += 1
        else:
            scale = _ONE / load(temperatures, row)
            for j in range(p, p + vocabulary):
                value = (load(own, j) - top) * scale
                store(own, j, exp(value) if value > np.float32(-80) else _ZERO)
            pivot = _ZERO
            k = load(top_ks, row)
            if k > 0:
                kth = _kth(own, p, vocabulary, k)
                for j in range(p, p + vocabulary):
                    value = load(own, j)
                    store(own, j, value if value >= kth else _ZERO)
            allowed = load(top_ps, row) * _mass_above(own, p, vocabulary, _ZERO)
            number = 0
            while True:
                token = _drawn(own, p, vocabulary, own, blocks, pivot, _uniform(load(keys, row), number))
                value = load(own, p + token)
                if value >= _ONE or _mass_above(own, p, vocabulary, value) < allowed:
                    break
                pivot = value
                number += 1
        store(tokens, row, token)
        store(logprobs, row, load(logits, at + token) - whole)
