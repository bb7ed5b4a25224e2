"""The RWKV-7 recurrence as a differentiable operator: a fused C kernel on the CPU, matrix products elsewhere."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from workers.recurrence import chunked

HEAD_SIZE = 64
CHUNK = 16
"""Tokens between the states that the forward pass keeps for the backward pass; `wkv.c` says the same."""


def wkv(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """y (B, T, H, 64) of S_t = S_{t-1} diag(w_t) + (S_{t-1} a_t) b_t^T + v_t k_t^T, y_t = S_t r_t, from S_0 = 0.

    All inputs are (B, T, H, 64) fp32; w is the decay itself, in 0..1. A token with w = a = 0 forgets all that
    came before it, which is how documents in one row are kept apart.
    """
    if r.device.type == "cpu" and has_kernel():
        y, _ = _fused(*(x.contiguous() for x in (r, w, k, v, a, b)))
        return y  # type: ignore[no-any-return]
    with torch.autocast(r.device.type, enabled=False):  # sums over a whole row need fp32
        batch, _, heads, size = r.shape
        y, _ = chunked(r, w, k, v, a, b, r.new_zeros(batch, heads, size, size))
        return y


@torch.library.custom_op("echo_training::wkv", mutates_args=())
def _fused(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch, length, heads, size = r.shape
    y = torch.empty_like(r)
    states = r.new_empty(batch, heads, -(-length // CHUNK), size, size)
    _kernel().wkv_forward(batch, length, heads, *_pointers(r, w, k, v, a, b, y, states))
    return y, states


@_fused.register_fake
def _(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch, length, heads, size = r.shape
    return torch.empty_like(r), r.new_empty(batch, heads, -(-length // CHUNK), size, size)


@torch.library.custom_op("echo_training::wkv_backward", mutates_args=())
def _fused_backward(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, states: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, length, heads, _ = r.shape
    dr, dw, dk, dv, da, db = (torch.empty_like(r) for _ in range(6))
    dy = dy.contiguous()  # named, since a temporary would be gone before the kernel reads it
    _kernel().wkv_backward(batch, length, heads, *_pointers(r, w, k, v, a, b, states, dy, dr, dw, dk, dv, da, db))
    return dr, dw, dk, dv, da, db


@_fused_backward.register_fake
def _(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, states: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return tuple(torch.empty_like(r) for _ in range(6))  # type: ignore[return-value]


def _keep(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs, output[1])


def _differentiate(ctx, dy, _):  # type: ignore[no-untyped-def]
    return _fused_backward(*ctx.saved_tensors, dy)


_fused.register_autograd(_differentiate, setup_context=_keep)


def _pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def has_kernel() -> bool:
    """Whether the kernel runs here: whether this machine has a C compiler, or had one before.

    Code that compiles a model has to mark it by `torch.compiler.assume_constant_result`. It is not marked here, since
    that imports torch's compiler, which takes a second.
    """
    try:
        _kernel()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@cache
def _kernel() -> ctypes.CDLL:
    """The compiled kernel, made once for this machine's processor and kept; raises without a compiler."""
    source = files("training") / "wkv.c"
    # Not -ffast-math: linked into a library it makes the whole process flush its subnormal numbers to zero.
    flags = ["-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC"]
    key = hashlib.sha256(" ".join([source.read_text(), *flags, _processor()]).encode()).hexdigest()[:16]
    path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "deep-tree-echo" / f"wkv-{key}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as own:
            built = Path(own) / path.name
            command = [os.environ.get("CC", "cc"), *flags, str(source), "-o", str(built)]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the user's own compiler
            built.replace(path)
    # torch has loaded its own OpenMP by now, so that the kernel shares its threads instead of adding some.
    return ctypes.CDLL(str(path))


def _processor() -> str:
    """What `-march=native` means here."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line for line in lines if line.startswith("flags")), "")
