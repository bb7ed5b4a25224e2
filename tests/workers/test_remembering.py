"""What of a user's words is remembered, and what a prompt recalls of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_tasks.memories import Memory
from echo_tasks.messages import JobSpec, Past, Turn
from workers.membranes import named
from workers.membranes.memory import RECALLED, RECALLED_CHARACTERS, recall
from workers.membranes.remembering import LONGEST, MOST_OF_A_TURN, memories_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("My name is Zorla.", "declarative"),
        ("I live in Brimtak", "declarative"),
        ("The capital of France is Paris.", "declarative"),
        ("Will is my brother.", "declarative"),
        ("I don’t like fish.", "declarative"),
        ("How to tie a knot: make a loop, then pull.", "procedural"),
        ("To make tea, boil water.", "procedural"),
        ("First fill the tank, then start it.", "procedural"),
        ("The best way to Osk is by boat.", "procedural"),
        ("Actually, I moved to Osk.", "episodic"),
        ("Yesterday it rained.", "episodic"),
        ("When I was young, I lived in Rome.", "episodic"),
        ("I’ve just met Ann.", "episodic"),
        ("Remind me to call Tom.", "intentional"),
        ("I'll visit Rome in May.", "intentional"),
        ("I am going to learn Rust", "intentional"),
        ("Please remember to buy milk!", "intentional"),
    ],
)
def test_statements_are_remembered_by_kind(text: str, kind: str) -> None:
    """Facts, skills, events and plans, by the words that tell them."""
    assert [(draft.memory_type, draft.content) for draft in memories_of(text)] == [(kind, text)]


@pytest.mark.parametrize(
    "text",
    [
        "Hello!",
        "Thank you!",
        "What is my name?",
        "what is my name",
        "How do I get there",
        "is it cold",
        "Can you help me",
        "Tell me a joke.",
        "Please correct this: she are here",
        "Is Socrates mortal?!",
        "I think so.",
        "Nice weather.",
        "This image shows nothing.",
    ],
)
def test_questions_errands_and_small_talk_are_not(text: str) -> None:
    """Nothing was told: with a question mark or without, and whatever words are hidden inside of words."""
    assert memories_of(text) == []


def test_every_sentence_is_looked_at_by_itself() -> None:
    """Also where a question follows, and each has its own importance."""
    drafts = memories_of("My name is Zorla. Snow is white. Always remember that I am ill! Who am I?")
    assert [(draft.content, draft.importance) for draft in drafts] == [
        ("My name is Zorla.", 0.7),
        ("Snow is white.", 0.4),
        ("Always remember that I am ill!", 0.9),
    ]


def test_a_long_text_tells_its_most_important_things() -> None:
    """So many, and none is longer than may be."""
    text = " ".join(f"Stone {number} is grey." for number in range(40)) + f" I am {'very ' * 200}tired."
    drafts = memories_of(text)
    assert len(drafts) == MOST_OF_A_TURN
    assert drafts[-1].content.startswith("I am very")
    assert max(len(draft.content) for draft in drafts) <= LONGEST


@given(st.text(alphabet="I amy will.!?\n rememba'’first then", max_size=400))
def test_the_rules_take_any_text(text: str) -> None:
    """And give the same for the same, with an importance from 0 to 1."""
    drafts = memories_of(text)
    assert drafts == memories_of(text)
    assert all(0 <= draft.importance <= 1 and draft.content for draft in drafts)


def memory(turn: int, content: str, importance: float = 0.5) -> Memory:
    return Memory(
        id=f"{turn}-1",
        session_id="s",
        turn=turn,
        job_id="0",
        made_at=0.0,
        content=content,
        memory_type="declarative",
        importance=importance,
    )


def spec(text: str, turns: int) -> JobSpec:
    return JobSpec(job_id="0", session_id="s", input_text=text, past=Past(turns=turns, gone=turns - 2))


HISTORY = [Turn(user="I like tea.", assistant="Yes."), Turn(user="I like milk.", assistant="Yes.")]


def test_a_prompt_recalls_what_its_turns_do_not_tell() -> None:
    """Memories of turns that it holds are left out, also where fewer of them fit; what it used is told."""
    memories = [memory(1, "I live in Osk."), memory(9, "I like tea."), memory(10, "I like milk.")]
    whole, half, none = named("memory").prompts(spec("What do I like, and where do I live?", 10), HISTORY, {}, memories)
    assert [line for line in whole.text.splitlines() if line.startswith("Earlier")] == ["Earlier: I live in Osk."]
    assert whole.fields == {"memories_used": [{"id": "1-1", "content": "I live in Osk.", "memory_type": "declarative"}]}
    assert "\n\nSystem: Recall what" in whole.text
    assert "so.\nEarlier: I live in Osk.\n\nUser: What do I like" in whole.text
    assert [used["id"] for used in half.fields["memories_used"]] == ["1-1", "9-1"]
    assert [used["id"] for used in none.fields["memories_used"]] == ["1-1", "9-1", "10-1"]


def test_a_history_that_is_whole_is_asked_as_ever() -> None:
    """Memories of turns that all stand in the prompt change nothing of it."""
    job = JobSpec(job_id="0", session_id="s", input_text="What do I like?", past=Past(turns=2))
    memories = [memory(1, "I like tea."), memory(2, "I like milk.")]
    prompt = named("memory").prompts(job, HISTORY, {}, memories)[0]
    assert prompt == named("memory").prompts(job, HISTORY, {})[0]
    assert prompt.fields == {"memories_used": []}


@pytest.mark.parametrize("step", ["reasoning", "grammar", "integration"])
def test_other_membranes_recall_nothing(step: str) -> None:
    """Memories are the memory membrane's."""
    memories = [memory(1, "I live in Osk.")]
    alone = named(step).prompts(spec("Where do I live?", 9), HISTORY, {})
    assert named(step).prompts(spec("Where do I live?", 9), HISTORY, {}, memories) == alone


def test_recalled_memories_are_bounded_and_in_order() -> None:
    """The most relevant ones, within a number and a length, as they were told."""
    many = [memory(turn, f"I live in city {turn}.", turn / 100) for turn in range(1, 20)]
    assert [one.turn for one in recall(spec("Where do I live?", 30), many)] == [*range(20 - RECALLED, 20)]
    long = [memory(turn, f"I live in {'long ' * 50}{turn}.") for turn in range(1, 6)]
    recalled = recall(spec("Where do I live?", 30), long)
    assert 0 < sum(len(one.content) for one in recalled) <= RECALLED_CHARACTERS
    assert recall(spec("Where do I live?", 30), [memory(1, "Stones are grey.")]) == []
