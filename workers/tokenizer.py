"""The World tokenizer: greedy longest match over bytes, from a vocabulary file as of the `rwkv` package."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from echo_tasks.errors import CheckpointError

END_OF_TEXT = 0
"""The id that ends a text; it stands for no bytes and is in no vocabulary file."""

WORLD = "rwkv_vocab_v20230424.txt"


class Tokenizer:
    """Bytes to ids and back. About 20 MB for the 65,529 tokens of the World vocabulary."""

    def __init__(self, tokens: Mapping[int, bytes]) -> None:
        self._bytes = dict(tokens)
        self._ids = {token: token_id for token_id, token in self._bytes.items()}
        lengths: dict[bytes, set[int]] = {}
        for token in self._ids:
            lengths.setdefault(token[:2], set()).add(len(token))
        self._lengths = {start: tuple(sorted(found, reverse=True)) for start, found in lengths.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the vocabulary."""
        digest = hashlib.sha256()
        for token_id in sorted(self._bytes):
            digest.update(b"%d %d %s\n" % (token_id, len(self._bytes[token_id]), self._bytes[token_id]))
        return digest.hexdigest()

    @property
    def largest_id(self) -> int:
        return max(self._bytes)

    def undecodable(self, vocabulary: int) -> list[int]:
        """The ids below `vocabulary` that stand for no bytes and do not end the text: never to be sampled."""
        return [i for i in range(vocabulary) if i not in self._bytes and i != END_OF_TEXT]

    def encode(self, text: str) -> list[int]:
        """The ids of the text's UTF-8; any text encodes."""
        return self.encode_bytes(text.encode(errors="surrogatepass"))

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes."""
        ids: list[int] = []
        at = 0
        while at < len(data):
            for length in self._lengths.get(data[at : at + 2], ()):
                token_id = self._ids.get(data[at : at + length])
                if token_id is not None:
                    break
            else:
                length, token_id = 1, self._ids[data[at : at + 1]]
            ids.append(token_id)
            at += length
        return ids

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids; they need not be whole UTF-8."""
        return b"".join(self._bytes[token_id] for token_id in ids if token_id != END_OF_TEXT)


def load(path: Path | None) -> Tokenizer:
    """The tokenizer of a vocabulary file, or of the World vocabulary. Raises CheckpointError."""
    source = path if path is not None else files("rwkv") / WORLD
    try:
        lines = source.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise CheckpointError(source, f"vocabulary cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(source, "vocabulary is not UTF-8 text") from error
    tokens = dict(_token(source, number, line) for number, line in enumerate(lines, 1))
    if missing := {bytes([byte]) for byte in range(256)} - set(tokens.values()):
        raise CheckpointError(source, f"vocabulary lacks {len(missing)} of the 256 single bytes")
    return Tokenizer(tokens)


def _token(source: object, number: int, line: str) -> tuple[int, bytes]:
    """A line is `id literal length`, the literal a Python string or bytes."""
    try:
        token_id, rest = line.split(" ", 1)
        literal, length = rest.rsplit(" ", 1)
        value = ast.literal_eval(literal)
        token = value.encode() if isinstance(value, str) else value
        if not isinstance(token, bytes) or len(token) != int(length) or not token or int(token_id) < 1:
            raise ValueError("its literal, length or id is wrong")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise CheckpointError(source, f"vocabulary line {number} is not `id token length`") from error
    return int(token_id), token
