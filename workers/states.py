"""A sequence's state as bytes: what it has seen, for any worker with the same model.

A header names the layout, the model, the number formats and how many tokens were seen; a checksum covers it all.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal

import torch
from torch import Tensor

from workers.checkpoint import HEAD_SIZE, Shape
from workers.slots import State

LAYOUT = 1
"""Of the bytes. States of another layout are recomputed, never read."""

WkvFormat = Literal["fp32", "fp16"]

_MAGIC = b"EWKV"
_HEADER = struct.Struct("<4sHHH16sHIQ")  # magic, layout, shift's and WKV's format, model id, layers, width, tokens
_CHECKSUM = struct.Struct("<I")
_FORMATS = (torch.float32, torch.float16, torch.bfloat16)
_WKV_FORMATS: dict[WkvFormat, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16}


class UnusableState(ValueError):
    """The bytes are no state that this model can go on from; `reason` is one word for the metrics."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StateFormat:
    """Packs and unpacks the states of one model."""

    def __init__(self, model_id: str, shape: Shape, dtype: torch.dtype, wkv: WkvFormat) -> None:
        self._model_id = model_id.encode()
        self._shape = shape
        self._dtype = dtype
        self._wkv = _WKV_FORMATS[wkv]

    @property
    def identity(self) -> bytes:
        """What tells this model's states from all others'."""
        return self._header(0)

    def pack(self, state: State, tokens: int) -> bytes:
        """The state after so many tokens."""
        head = self._header(tokens)
        shift, wkv = _bytes(state.shift), _bytes(state.wkv.to(self._wkv))
        checksum = zlib.crc32(wkv, zlib.crc32(shift, zlib.crc32(head)))
        return b"".join((head, _CHECKSUM.pack(checksum), shift, wkv))

    def unpack(self, packed: bytes, tokens: int) -> State:
        """The state after so many tokens, in memory of its own. Raises UnusableState."""
        start = _HEADER.size + _CHECKSUM.size
        if len(packed) < start:
            raise UnusableState("damaged", f"{len(packed)} bytes are no state")
        head, body = packed[: _HEADER.size], memoryview(packed)[start:]
        if zlib.crc32(body, zlib.crc32(head)) != _CHECKSUM.unpack_from(packed, _HEADER.size)[0]:
            raise UnusableState("damaged", "the checksum differs")
        if head != self._header(tokens):
            raise UnusableState("foreign", "another layout, model or number format, or another prefix")
        layers, width, heads = self._shape.layers, self._shape.width, self._shape.heads
        shift_bytes = layers * 2 * width * self._dtype.itemsize
        shift = _tensor(body[:shift_bytes], self._dtype).view(layers, 2, width)
        wkv = _tensor(body[shift_bytes:], self._wkv).view(layers, heads, HEAD_SIZE, HEAD_SIZE)
        return State(shift, wkv.float())

    def _header(self, tokens: int) -> bytes:
        formats = _FORMATS.index(self._dtype), _FORMATS.index(self._wkv)
        return _HEADER.pack(_MAGIC, LAYOUT, *formats, self._model_id, self._shape.layers, self._shape.width, tokens)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def _tensor(data: memoryview, dtype: torch.dtype) -> Tensor:
    """A copy: the bytes are somebody else's."""
    return torch.frombuffer(bytearray(data), dtype=dtype)
