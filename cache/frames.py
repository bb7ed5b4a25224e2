"""Entries as bytes: a head with all that belongs to a value, and the value, compressed where that pays.

The head is the codec, three times, the stamp and a checksum (XXH3, 64 bits) of everything else. Head and body are kept
apart as far as can be, since a body may have megabytes.
"""

from __future__ import annotations

import struct

import lz4.frame
import xxhash

from cache.tier import Entry, Stamp

_HEAD = struct.Struct("<BIddd")  # codec, bytes of the stamp, made, stale, expires
_CHECKSUM = struct.Struct("<Q")
_RAW, _LZ4, _NOTHING = 16, 17, 18
_LEAST_BYTES = 256
_PAYS_BELOW = 0.9


class DamagedFrame(ValueError):
    """The bytes are no frame, or not the one that was written."""


def pack(entry: Entry, *, compress: bool = True) -> tuple[bytes, bytes]:
    """The entry as head and body; compressed when that saves at least a tenth of it."""
    codec, body = _encoded(entry.value, compress)
    stamp = _stamp_text(entry.stamp)
    head = _HEAD.pack(codec, len(stamp), entry.made_at, entry.stale_at, entry.expires_at) + stamp
    return head + _CHECKSUM.pack(_checksum(head, body)), body


def split(frame: bytes) -> tuple[bytes, bytes]:
    """Head and body of a frame in one piece. Raises DamagedFrame."""
    if len(frame) < _HEAD.size + _CHECKSUM.size:
        raise DamagedFrame(f"{len(frame)} bytes are no frame")
    end = _HEAD.size + int.from_bytes(frame[1:5], "little") + _CHECKSUM.size
    return frame[:end], frame[end:]


def unpack(head: bytes, body: bytes) -> Entry:
    """The entry of head and body. Raises DamagedFrame."""
    sealed = head[: -_CHECKSUM.size]
    if len(sealed) < _HEAD.size or _CHECKSUM.pack(_checksum(sealed, body)) != head[-_CHECKSUM.size :]:
        raise DamagedFrame("the checksum differs")
    codec, stamp_bytes, made_at, stale_at, expires_at = _HEAD.unpack_from(sealed)
    stamp = _stamp(sealed[_HEAD.size :]) if stamp_bytes else ()
    return Entry(_decoded(codec, body), made_at, stale_at, expires_at, stamp)


def _encoded(value: bytes | None, compress: bool) -> tuple[int, bytes]:
    if value is None:
        return _NOTHING, b""
    if compress and len(value) >= _LEAST_BYTES:
        squeezed = lz4.frame.compress(value)
        if len(squeezed) < _PAYS_BELOW * len(value):
            return _LZ4, squeezed
    return _RAW, value


def _decoded(codec: int, body: bytes) -> bytes | None:
    if codec == _RAW:
        return body
    if codec == _LZ4:
        return bytes(lz4.frame.decompress(body))
    if codec == _NOTHING:
        return None
    raise DamagedFrame(f"unknown codec {codec}")


def _checksum(head: bytes, body: bytes) -> int:
    digest = xxhash.xxh3_64(head)
    digest.update(body)
    return digest.intdigest()


def _stamp_text(stamp: Stamp) -> bytes:
    return "\n".join(f"{tag}\t{version}" for tag, version in stamp).encode() if stamp else b""


def _stamp(text: bytes) -> Stamp:
    pairs = (line.split("\t") for line in text.decode().split("\n"))
    return tuple((tag, version) for tag, version in pairs)
