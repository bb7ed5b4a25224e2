"""Which memories matter to a text, and which of them tell the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_tasks.consolidation import merges
from echo_tasks.memories import Memory
from echo_tasks.messages import MemoryType
from echo_tasks.ranking import K1, B, Candidate, bm25, rank, terms

TEXTS = (
    "The capital of Spain is Madrid.",
    "France is a country in Europe.",
    "I like the capital letters of old fonts.",
    "What a day this is!",
    "The capital of France is Paris.",
    "I live in Brimtak.",
    "Paris is what my dog is called.",
)

WORDS = st.sampled_from("tea milk sugar house dog cat river tree stone bread".split())
SENTENCES = st.lists(WORDS, min_size=1, max_size=6)


def candidates(*texts: str, importance: float = 0.5) -> list[Candidate]:
    return [Candidate(text, importance, 0.5) for text in texts]


def memory(number: int, content: str, memory_type: MemoryType = "declarative", importance: float = 0.5) -> Memory:
    return Memory(
        id=f"{number}-1",
        session_id="s",
        turn=number,
        job_id="0",
        made_at=0.0,
        content=content,
        memory_type=memory_type,
        importance=importance,
    )


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("where am I LIVING", "I live in Brimtak."),
        ("Which letter is a capital one?", "I like the capital letters of old fonts."),
        ("Tell me of Madrid’s wonders.", "The capital of Spain is Madrid."),
    ],
)
def test_the_right_one_is_first_among_distractors(query: str, first: str) -> None:
    """By content words, whatever their case and ending, and not by those that every question has."""
    place, relevance = rank(query, candidates(*TEXTS))[0]
    assert TEXTS[place] == first
    assert 0 < relevance < 1


def test_bm25_is_the_formula_of_its_source() -> None:
    """Two documents, one term: worked out by hand."""
    documents = [["tea", "tea", "milk"], ["milk"]]
    idf = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * 3 / 2))
    assert bm25(["tea"], documents) == [pytest.approx(expected), 0]
    assert bm25(["tea"], []) == []
    assert bm25([], documents) == [0, 0]


@given(query=SENTENCES, documents=st.lists(SENTENCES, max_size=6))
def test_what_shares_no_word_is_not_found(query: list[str], documents: list[list[str]]) -> None:
    """And what shares one is."""
    found = {place for place, _ in rank(" ".join(query), candidates(*map(" ".join, documents)))}
    assert found == {place for place, document in enumerate(documents) if {*query} & {*document}}


@given(word=WORDS, documents=st.lists(SENTENCES, max_size=6), length=st.integers(1, 6))
def test_an_irrelevant_memory_changes_no_order(word: str, documents: list[list[str]], length: int) -> None:
    """With one word to look for, one that shares none moves others at most by the mean length.

    It is as long as the mean here, so that the lengths' ratios stay: the order does too.
    """
    texts = [" ".join([*document, *["pad"] * (6 - len(document))]) for document in documents]
    before = rank(word, candidates(*texts))
    after = rank(word, candidates(*texts, " ".join(["other"] * 6)))
    assert [place for place, _ in after] == [place for place, _ in before]


@given(documents=st.lists(SENTENCES, min_size=1, max_size=6), query=SENTENCES, more=st.floats(0, 0.5))
def test_more_important_is_never_less_relevant(documents: list[list[str]], query: list[str], more: float) -> None:
    """Of two that say the same the more important one comes first, and so does the more recent one."""
    text = " ".join(documents[0])
    same = [Candidate(text, 0.5 + more, 0.5), Candidate(text, 0.5, 0.5), Candidate(text, 0.5, 0.5 - more)]
    found = rank(" ".join(query), same)
    relevance = dict(found)
    if found:
        assert relevance[0] >= relevance[1] >= relevance[2]
    assert rank("nothing", same) == []


@given(st.text())
def test_any_text_has_terms(text: str) -> None:
    """Whatever its script; a text of function words alone is looked for by these."""
    assert all(isinstance(term, str) and term for term in terms(text))
    assert terms("Who am I?") == ("who", "am", "i")
    assert terms("Ärzte in 北京 don’t lie") == ("ärzte", "北京", "not", "lie")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("I live in Osk.", "i live in OSK", True),
        ("I'm a baker.", "I am a baker!", True),
        ("Remember that the key is here.", "The key is here.", True),
        ("I like cats.", "I really like a cat.", True),
        ("I live in Osk.", "I live in Brimtak.", False),
        ("I like tea.", "I do not like tea.", False),
        ("I like Paris more than London.", "I like London more than Paris.", False),
        ("My brother lives in Osk.", "Her brother lives in Osk.", False),
        ("I am 30.", "I am 31.", False),
    ],
)
def test_only_what_tells_the_same_is_merged(one: str, other: str, same: bool) -> None:
    """Case, inflection and fillers change nothing; any other word can."""
    assert bool(merges([memory(1, one), memory(2, other)])) is same


def test_the_more_important_one_stays() -> None:
    """Of equally important ones the later, and another type is another memory."""
    first, second, third = (memory(n, "I like tea.", importance=i) for n, i in ((1, 0.9), (2, 0.5), (3, 0.5)))
    assert [(stays.id, goes.id) for stays, goes in merges([first, second, third])] == [("1-1", "3-1"), ("1-1", "2-1")]
    assert [(stays.id, goes.id) for stays, goes in merges([second, third])] == [("3-1", "2-1")]
    assert merges([first, memory(4, "I like tea.", "episodic")]) == []


@given(st.lists(st.sampled_from(["tea", "a tea", "milk", "the milk", "Milk!", "not milk"]), max_size=12))
def test_merging_is_done_at_once(contents: list[str]) -> None:
    """What is left has nothing more to merge, and nothing that was told is lost."""
    memories = [memory(number, content) for number, content in enumerate(contents)]
    gone = {goes.id for _, goes in merges(memories)}
    left = [one for one in memories if one.id not in gone]
    assert merges(left) == []
    assert len(left) == len({"not" in one.content or one.content.strip("!").lower().split()[-1] for one in memories})
