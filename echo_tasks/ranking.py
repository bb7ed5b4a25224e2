"""Which memories matter to a text: BM25 over their words, weighed with importance and recency. Pure functions."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

K1 = 1.2
"""How soon a word that is repeated adds nothing more to a match."""

B = 0.75
"""How much a long memory is marked down for its length."""

MATCH_SHARE, IMPORTANCE_SHARE, RECENCY_SHARE = 0.7, 0.2, 0.1
"""What a match is worth by itself, and what importance and recency add to it at most."""

_FUNCTION_WORDS = frozenset(
    """a am an and are as at be been but by can could did do does for from had has have he her him his how i if in into
    is it its me my of on or our please she should so tell than that the their them then there these they this those to
    us was we were what when where which who whom whose why will with would you your""".split()
)
"""Words that nearly every sentence holds. Negations are not among them."""

_CONTRACTIONS = (("n't", " not"), ("'m", " am"), ("'re", " are"), ("'ll", " will"), ("'ve", " have"), ("'s", " is"))

_stemmer = snowballstemmer.stemmer("english")
_stemming = threading.Lock()  # the stemmer keeps its word in itself


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may matter; importance and recency are from 0 to 1."""

    text: str
    importance: float
    recency: float


def rank(query: str, candidates: Sequence[Candidate]) -> list[tuple[int, float]]:
    """The places of the candidates that match, and their relevance from 0 to 1, most relevant first.

    Relevance is x / (1 + x) of x = BM25 * (0.7 + 0.2 * importance + 0.1 * recency). A candidate that shares no word
    with the query does not matter, however important. Of equally relevant ones the later comes first.
    """
    scores = bm25(terms(query), [terms(candidate.text) for candidate in candidates])
    found = [
        (place, _relevance(score, candidate))
        for place, (score, candidate) in enumerate(zip(scores, candidates, strict=True))
        if score > 0
    ]
    return sorted(found, key=lambda pair: (-pair[1], -pair[0]))


def _relevance(score: float, candidate: Candidate) -> float:
    weight = MATCH_SHARE + IMPORTANCE_SHARE * candidate.importance + RECENCY_SHARE * candidate.recency
    return score * weight / (1 + score * weight)


def bm25(query: Sequence[str], documents: Sequence[Sequence[str]]) -> list[float]:
    """Each document's score for the query's terms (Robertson & Zaragoza 2009, section 3.3).

    The inverse document frequency is ln(1 + (N - n + 0.5) / (n + 0.5)), as Lucene has it: never negative, so that a
    word which most documents hold counts little, and not against them.
    """
    if not documents:
        return []
    mean_length = sum(map(len, documents)) / len(documents) or 1
    holding = Counter(term for document in documents for term in set(document))
    idf = {term: _idf(len(documents), holding[term]) for term in sorted(set(query))}
    return [_score(idf, Counter(document), len(document) / mean_length) for document in documents]


def _idf(documents: int, holding: int) -> float:
    return math.log(1 + (documents - holding + 0.5) / (holding + 0.5))


def _score(idf: dict[str, float], counts: Counter[str], length_ratio: float) -> float:
    saturation = K1 * (1 - B + B * length_ratio)
    return sum(weight * counts[term] * (K1 + 1) / (counts[term] + saturation) for term, weight in idf.items())


def terms(text: str) -> tuple[str, ...]:
    """The stems of the text's words, without function words, unless it has no others."""
    found = words(text)
    return tuple(_stem(word) for word in found if word not in _FUNCTION_WORDS) or tuple(map(_stem, found))


def words(text: str) -> list[str]:
    """The text's words in their caseless form, contractions written out."""
    plain = text.casefold().replace("’", "'")
    for short, long in _CONTRACTIONS:
        plain = plain.replace(short, long)
    return re.findall(r"\w+", plain)


def stems(text: str) -> tuple[str, ...]:
    """The stems of all words of the text, in order."""
    return tuple(map(_stem, words(text)))


@lru_cache(maxsize=1 << 15)
def _stem(word: str) -> str:
    with _stemming:
        return str(_stemmer.stemWord(word))
