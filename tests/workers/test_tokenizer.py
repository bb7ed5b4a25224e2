"""The World tokenizer against the `rwkv` package's own, and what a vocabulary file must be."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

from echo_tasks.errors import CheckpointError
from echo_tasks.messages import Turn
from workers.membranes.prompt import chat
from workers.model import BUNDLED
from workers.tokenizer import END_OF_TEXT, WORLD, Tokenizer, load

SINGLE_BYTES = [f"{byte + 1} {bytes([byte])!r} 1" for byte in range(256)]
"""The least that a vocabulary file may hold: 256 lines."""

HARD = (
    "",
    " ",
    " " * 1000,
    "\n" * 65 + "\t" * 33,
    "a" * 257,
    "0123456789" * 12,
    "\x00\x01\x1b[31m\x7f\x80\xff",
    "\ufeff\u200b\u200d\ufffd\U0010ffff",
    "naïve cafe\u0301 straße İstanbul",
    "天地玄黃，宇宙洪荒。日月盈昃",
    "ありがとうございました 안녕하세요",
    "Привет, мир! مرحبا بالعالم नमस्ते",
    "👍🏽 👩‍👩‍👧‍👦 🇯🇵 🏴\U000e0067\U000e0062\U000e007f",
    "User: hi\n\nAssistant:\r\n\r\n<think>\n</think>",
    "def f(x):\n        return {'a': [1, 2]}  # комментарий",
)

Lines = list[str]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The World tokenizer."""
    return load(None)


@pytest.fixture(scope="module")
def oracle() -> TRIE_TOKENIZER:
    """The package's tokenizer: about 250 MB, so one for the module."""
    return TRIE_TOKENIZER(str(files("rwkv") / WORLD))


def write(folder: Path, lines: Lines) -> Path:
    path = folder / "vocabulary.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("text", HARD)
def test_a_hard_text_encodes_as_the_package_does(tokenizer: Tokenizer, oracle: TRIE_TOKENIZER, text: str) -> None:
    """Emoji, CJK, control characters and long runs have the package's ids."""
    assert tokenizer.encode(text) == oracle.encode(text)


@given(text=st.text())
def test_any_text_encodes_as_the_package_does(tokenizer: Tokenizer, oracle: TRIE_TOKENIZER, text: str) -> None:
    """Any text has the package's ids."""
    assert tokenizer.encode(text) == oracle.encode(text)


@given(text=st.text(alphabet=" \n\t\r'\"0129aAeètT,.:天的"))
def test_runs_encode_as_the_package_does(tokenizer: Tokenizer, oracle: TRIE_TOKENIZER, text: str) -> None:
    """Text of few characters, where many tokens compete, has the package's ids."""
    assert tokenizer.encode(text) == oracle.encode(text)


@given(ids=st.lists(st.integers(1, 65529), max_size=12))
def test_neighbouring_tokens_encode_as_the_package_does(
    tokenizer: Tokenizer, oracle: TRIE_TOKENIZER, ids: list[int]
) -> None:
    """Text put together of tokens, which may match longer across their seams, has the package's ids."""
    text = tokenizer.decode(ids).decode(errors="ignore")
    assert tokenizer.encode(text) == oracle.encode(text)


def test_every_id_decodes_as_the_package_does(tokenizer: Tokenizer, oracle: TRIE_TOKENIZER) -> None:
    """All 65,529 ids stand for the package's bytes."""
    assert {token_id: tokenizer.decode([token_id]) for token_id in range(1, 65530)} == oracle.idx2token


@given(text=st.text())
@example(text="".join(HARD))
def test_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    """Decoding what was encoded gives the text."""
    assert tokenizer.decode(tokenizer.encode(text)).decode() == text


def test_every_single_byte_decodes(tokenizer: Tokenizer) -> None:
    """Each of the 256 bytes is a token, those that are no character among them."""
    assert tokenizer.decode(range(1, 257)) == bytes(range(256))


def test_the_end_of_text_stands_for_no_bytes(tokenizer: Tokenizer) -> None:
    """Id 0 decodes to nothing, wherever it stands."""
    assert tokenizer.decode([END_OF_TEXT, 66, END_OF_TEXT]) == b"A"


def test_ids_without_bytes_are_named(tokenizer: Tokenizer) -> None:
    """The head's rows over the vocabulary's end are undecodable; the end of text is not."""
    assert tokenizer.undecodable(65536) == [65530, 65531, 65532, 65533, 65534, 65535]
    assert tokenizer.largest_id == 65529


def test_a_vocabulary_file_loads(tmp_path: Path) -> None:
    """A file of single bytes and one longer token of each kind of literal loads; the longest match wins."""
    tokenizer = load(write(tmp_path, [*SINGLE_BYTES, "300 'ab' 2", "301 b'b\\xff' 2", "302 'é' 2"]))
    assert tokenizer.encode("abé") == [300, 302]
    assert tokenizer.decode([301]) == b"b\xff"
    assert tokenizer.undecodable(304) == [*range(257, 300), 303]


def test_the_digest_tells_vocabularies_apart(tmp_path: Path) -> None:
    """The digest is of the tokens, not of their lines' order; another id or other bytes change it."""
    lines = [*SINGLE_BYTES, "300 'ab' 2"]
    digests = [load(write(tmp_path, lines)).digest, load(write(tmp_path, lines[::-1])).digest]
    digests += [load(write(tmp_path, [*SINGLE_BYTES, line])).digest for line in ("301 'ab' 2", "300 'ac' 2")]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "300 'ab'",
        "300 'ab' 3",
        "300 'é' 1",
        "300 '' 0",
        "0 'ab' 2",
        "-1 'ab' 2",
        "x 'ab' 2",
        "300 'ab 2",
        "300 ab 2",
        "300 '\\ud800' 3",
        "300 None 4",
        "300 print('ab') 2",
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    """A line that is not `id token length` is refused by its number."""
    path = write(tmp_path, [*SINGLE_BYTES, line, "301 'cd' 2"])
    with pytest.raises(CheckpointError, match="line 257 ") as caught:
        load(path)
    assert caught.value.path == path


@pytest.mark.parametrize("literal", ["5 5", "[97,98] 2", "99999999999999999999 5"])
def test_a_literal_that_is_no_text_is_named(tmp_path: Path, literal: str) -> None:
    """A number or a list where the token should stand is refused by its line's number."""
    with pytest.raises(CheckpointError, match="line 257 "):
        load(write(tmp_path, [*SINGLE_BYTES, f"300 {literal}"]))


def test_a_missing_single_byte_is_counted(tmp_path: Path) -> None:
    """A vocabulary that cannot spell every byte is refused."""
    with pytest.raises(CheckpointError, match="lacks 2 of the 256"):
        load(write(tmp_path, SINGLE_BYTES[2:]))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path where there is no file raises CheckpointError with the path."""
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        load(tmp_path / "none.txt")
    assert caught.value.path == tmp_path / "none.txt"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is no vocabulary."""
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A file of other bytes than UTF-8 is no vocabulary."""
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(b"1 '\xff' 1\n")
    with pytest.raises(CheckpointError, match="not UTF-8"):
        load(path)


@pytest.mark.parametrize("vocabulary", ["world", "mini"])
def test_no_token_lies_across_the_marks_of_a_prompt(vocabulary: str) -> None:
    """So that a prompt cut at them has the tokens of the whole: what is kept is what would have been read."""
    tokenizer = load(BUNDLED.with_suffix(".vocab.txt") if vocabulary == "mini" else None)
    turns = [
        Turn(user=f"Is it {end}", assistant=f"It is {end}") for end in ("so?", "7", "a\nb", "\N{GRINNING FACE}", "é")
    ]
    prompt = chat("Recall.", "And now?", turns)
    cut = [prompt.text[start:end] for start, end in pairwise([0, *prompt.marks, len(prompt.text)])]
    assert [token for part in cut for token in tokenizer.encode(part)] == tokenizer.encode(prompt.text)
