"""Compiling kernels with numba, and running them on the threads that torch's own products use.

A kernel takes one address: that of a table of 64-bit integers, which are counters, sizes and the addresses of arrays.
The type that this address points to stands for the model's number format, so that a kernel is written once for all.
Two pools of threads would wait for one another's cores, so kernels run on that of torch's OpenMP runtime; where it
cannot be found they run on the calling thread alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_HERE = Path(__file__).parent

Body = Callable[[Any], None]
F = TypeVar("F", bound=Callable[..., Any])

_FORMATS = {torch.bfloat16: types.uint16, torch.float32: types.float32}
FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}
"""What kernels may do to sums; NaN and infinity keep their meaning."""

_TICKET, _WORKER = 0, 1
TASKS = 2
FIRST = 3
"""Where a kernel's own entries of its table begin."""

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()


class _Limit:
    """How many threads kernels of this process run on, where each may have more."""

    threads = 1 << 16


def run_on(threads: int) -> None:
    """Have all kernels of this process run on so many threads at most, from now on."""
    _Limit.threads = threads


class Kernel:
    """A compiled kernel with its table of arguments. Not for two threads at a time."""

    def __init__(self, compiled: Any, arguments: Sequence[int], threads: int) -> None:
        self._compiled = compiled  # kept alive: what follows knows its address alone
        self._alone = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(compiled.address)
        self._table = (ctypes.c_int64 * (FIRST + len(arguments)))(0, 0, 0, *arguments)
        self._call = (compiled.address, ctypes.addressof(self._table), threads)
        self._parallel = _openmp() if threads > 1 else None

    def __call__(self, tasks: int, *sizes: int) -> None:
        """Do `tasks` tasks; `sizes` replace the first of the arguments."""
        table = self._table
        table[_TICKET], table[_WORKER], table[TASKS] = 0, 0, tasks
        for at, size in enumerate(sizes, FIRST):
            table[at] = size
        address, data, threads = self._call
        threads = min(threads, tasks, _Limit.threads)
        if self._parallel is not None and threads > 1:
            self._parallel(address, data, threads, 0)
        else:
            self._alone(data)


def inlined(function: F) -> F:
    """Have a function be part of the kernels that call it."""
    return numba.njit(fastmath=FAST_MATH, error_model="numpy", forceinline=True)(function)  # type: ignore[no-any-return]


@cache
def compiled(body: Body, dtype: torch.dtype) -> Any:
    """The body's machine code for a number format, kept on disk where that is allowed."""
    signature = types.void(types.CPointer(_FORMATS[dtype]))
    for folder in (_HERE / "__pycache__", Path.home() / ".cache" / "deep-tree-echo"):
        kept = folder / f"kernels-{_sources()}"
        if _is_writable(kept):  # else numba would take a folder of its own, which does not tell our sources apart
            with _kept_in(kept):
                return numba.cfunc(signature, cache=True, fastmath=FAST_MATH)(body)
    return numba.cfunc(signature, fastmath=FAST_MATH)(body)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


@cache
def _sources() -> str:
    """A digest of this package: numba notices a change of the body's own file, and of none that it is made of."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Have numba keep what it compiles in a folder."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@cache
def _openmp() -> Any:
    """`GOMP_parallel` of the runtime that torch has loaded; None where torch uses another one."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    for line in maps.splitlines():
        if "libgomp" in line:
            parallel = ctypes.CDLL(line.split(maxsplit=5)[-1]).GOMP_parallel
            parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            parallel.restype = None
            return parallel
    return None


@intrinsic  # type: ignore[untyped-decorator]
def ticket(_: Any, table: Any) -> Any:
    """The next task's number, each to one thread only."""
    return types.int64(table), lambda context, builder, signature, values: _counted(builder, values[0], _TICKET)


@intrinsic  # type: ignore[untyped-decorator]
def worker(_: Any, table: Any) -> Any:
    """The calling thread's number, counted from 0; to be asked for once."""
    return types.int64(table), lambda context, builder, signature, values: _counted(builder, values[0], _WORKER)


def _counted(builder: Any, table: Any, entry: int) -> Any:
    place = builder.gep(builder.bitcast(table, _I64.as_pointer()), [ir.Constant(_I64, entry)])
    return builder.atomic_rmw("add", place, ir.Constant(_I64, 1), "monotonic")


@intrinsic  # type: ignore[untyped-decorator]
def size(_: Any, table: Any, entry: Any) -> Any:
    """An entry of the table."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(builder.gep(builder.bitcast(values[0], _I64.as_pointer()), [values[1]]))

    return types.int64(table, types.int64), code


def _address(element: Callable[[Any], Any]) -> Any:
    """An intrinsic: the array whose address is an entry of the table."""

    def array(_: Any, table: Any, entry: Any) -> Any:
        kind = element(table)

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            address = builder.load(builder.gep(builder.bitcast(values[0], _I64.as_pointer()), [values[1]]))
            return builder.inttoptr(address, context.get_value_type(signature.return_type))

        return types.CPointer(kind)(table, types.int64), code

    return intrinsic(array)


numbers = _address(lambda table: table.dtype)
"""The array of the model's number format at an entry of the table."""

floats = _address(lambda table: types.float32)
"""The array of fp32 at an entry of the table."""

integers = _address(lambda table: types.int64)
"""The array of 64-bit integers at an entry of the table."""


@intrinsic  # type: ignore[untyped-decorator]
def load(_: Any, array: Any, at: Any) -> Any:
    """An element: fp32 of any number format, or an integer."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        element = builder.load(builder.gep(values[0], [values[1]], inbounds=True))
        if array.dtype != types.uint16:
            return element
        return builder.bitcast(builder.shl(builder.zext(element, _I32), ir.Constant(_I32, 16)), _F32)

    given = types.int64 if array.dtype == types.int64 else types.float32
    return given(array, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def store(_: Any, array: Any, at: Any, value: Any) -> Any:
    """Set an element to an fp32 value, rounded to the nearest (ties to even) of a shorter format, or to an integer."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        element = values[2]
        if array.dtype == types.uint16:
            bits = builder.bitcast(element, _I32)
            odd = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
            rounded = builder.add(bits, builder.add(odd, ir.Constant(_I32, 0x7FFF)))
            quiet = builder.or_(bits, ir.Constant(_I32, 0x400000))
            kept = builder.select(builder.fcmp_unordered("uno", element, element), quiet, rounded)
            element = builder.trunc(builder.lshr(kept, ir.Constant(_I32, 16)), ir.IntType(16))
        builder.store(element, builder.gep(values[0], [values[1]], inbounds=True))
        return context.get_dummy_value()

    taken = types.int64 if array.dtype == types.int64 else types.float32
    return types.void(array, types.int64, taken), code


@intrinsic  # type: ignore[untyped-decorator]
def two_to(_: Any, exponent: Any) -> Any:
    """2 to a whole power from -126 to 127, as fp32."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole = builder.fptosi(values[0], _I32)
        return builder.bitcast(builder.shl(builder.add(whole, ir.Constant(_I32, 127)), ir.Constant(_I32, 23)), _F32)

    return types.float32(types.float32), code
