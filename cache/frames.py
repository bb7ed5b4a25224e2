"""Values on their way to a server: compressed where that pays, and with a checksum.

A frame is one byte that names the codec, the CRC-32 of the payload begun with that byte, and the payload.
"""

from __future__ import annotations

import struct
import zlib

import lz4.frame

_HEADER = struct.Struct(">BI")
_RAW, _LZ4 = 0, 1
_LEAST_BYTES = 256
_PAYS_BELOW = 0.9


class DamagedFrame(ValueError):
    """The bytes are no frame, or not the one that was written."""


def pack(value: bytes, *, compress: bool = True) -> bytes:
    """The value as a frame; compressed when that saves at least a tenth of it."""
    codec, payload = _RAW, value
    if compress and len(value) >= _LEAST_BYTES:
        squeezed = lz4.frame.compress(value)
        if len(squeezed) < _PAYS_BELOW * len(value):
            codec, payload = _LZ4, squeezed
    return _HEADER.pack(codec, zlib.crc32(payload, codec)) + payload


def unpack(frame: bytes) -> bytes:
    """The value of a frame. Raises DamagedFrame."""
    if len(frame) < _HEADER.size:
        raise DamagedFrame(f"{len(frame)} bytes are no frame")
    codec, checksum = _HEADER.unpack_from(frame)
    payload = frame[_HEADER.size :]
    if zlib.crc32(payload, codec) != checksum:
        raise DamagedFrame("the checksum differs")
    if codec == _RAW:
        return payload
    if codec == _LZ4:
        return bytes(lz4.frame.decompress(payload))
    raise DamagedFrame(f"unknown codec {codec}")
