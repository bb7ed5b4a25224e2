"""Going back before a stop string, with tokens of few bytes in the place of a model's."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from workers.detokenizer import Detokenizer
from workers.rewind import Rewind
from workers.tokenizer import Tokenizer

WORDS = Tokenizer(dict(enumerate((b"a", b"b", b"c", b"ab", b"aa", b"bca", b"cab"), 1)))
STOPS = st.lists(st.text("abc", min_size=1, max_size=5).map(str.encode), max_size=3)


@given(tokens=st.lists(st.integers(1, 7), min_size=1, max_size=12), stops=STOPS)
@example(tokens=[1, 1, 2, 3], stops=[b"abc"])
@example(tokens=[4, 5, 6], stops=[b"abca"])
@example(tokens=[5, 5, 2], stops=[b"aab"])
def test_the_state_and_what_is_fed_after_it_are_the_text(tokens: list[int], stops: list[bytes]) -> None:
    """Wherever a stop string ends the answer, or only seemed to begin: nothing of the text is missing or seen twice."""
    detokenizer, rewind, said = Detokenizer(stops), Rewind(), list[int]()
    for number, token in enumerate(tokens, 1):
        said.append(token)
        rewind.add(token, WORDS.decode([token]))
        detokenizer.push(WORDS.decode([token]))
        if detokenizer.stopped or number == len(tokens):
            break
        rewind.keep(detokenizer.certain_bytes, lambda: tuple(said[:-1]))
    if not detokenizer.stopped:
        detokenizer.flush()
    state, fed = rewind.to(detokenizer.certain_bytes, WORDS)
    seen = [*(said[:-1] if state is None else state), *fed]
    assert WORDS.decode(seen) == WORDS.decode(said)[: detokenizer.certain_bytes]
