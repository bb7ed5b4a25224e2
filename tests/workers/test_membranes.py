"""What the membranes write for the model, and what they read out of the text and the answer."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_tasks.keys import STEPS
from echo_tasks.messages import JobSpec, StepOutput, Turn
from workers import membranes
from workers.membranes import fingerprint, named
from workers.membranes.grammar import analyse
from workers.membranes.integration import NOTE_LIMITS
from workers.membranes.prompt import STOP, chat, shortened
from workers.membranes.reasoning import kind_of
from workers.sequence import Generation

OUTPUTS = {"memory": StepOutput(text="kept"), "grammar": StepOutput(error="gone", text="half")}
CITIES = [f"City{letter}" for letter in "ABCDEFGHIJKLMNOPQRST"]


def spec(text: str) -> JobSpec:
    return JobSpec(job_id="0" * 32, session_id="s", input_text=text)


def generation(text: str, mean_logprob: float = -1.0) -> Generation:
    return Generation(text, (1, 2), "stop", 3, 0, mean_logprob, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("step", STEPS)
def test_prompts_are_in_the_chat_form(step: str) -> None:
    """A prompt is a system turn, the user's text, and the assistant's turn with no space after it."""
    system, user, assistant = named(step).prompts(spec("Why is the sky blue?"), [], OUTPUTS)[0].text.split("\n\n")
    assert system.startswith("System: ")
    assert user == "User: Why is the sky blue?"
    assert assistant == "Assistant:"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("text", ["one\n\ntwo", "\n\none\r\n\r\n\r\ntwo\n\n", "one\n\r\ntwo", "  one\n\n\n\ntwo  "])
def test_blank_lines_inside_the_text_collapse(step: str, text: str) -> None:
    """Blank lines, which separate turns, become single line breaks inside a turn."""
    assert "\n\nUser: one\ntwo\n\nAssistant:" in named(step).prompts(spec(text), [], OUTPUTS)[0].text


@given(system=st.text(alphabet="\r\n\t aU:"), user=st.text(alphabet="\r\n\t aU:"))
def test_no_text_can_open_a_turn(system: str, user: str) -> None:
    """Whatever line breaks the texts hold, a prompt has three turns, and ends where the assistant's begins."""
    prompt = chat(system, user).text
    assert [turn.split(":")[0] for turn in prompt.split("\n\n")] == ["System", "User", "Assistant"]
    assert prompt.endswith("\n\nAssistant:")


def test_earlier_turns_come_first() -> None:
    """A session's prompts share a beginning that only grows; the membrane's own words come after it."""
    first, second = Turn(user="one\n\nmore", assistant="yes"), Turn(user="two", assistant="no\n\nnever")
    assert chat("be brief", "three", [first, second]).text == (
        "User: one\nmore\n\nAssistant: yes\n\nUser: two\n\nAssistant: no\nnever\n\n"
        "System: be brief\n\nUser: three\n\nAssistant:"
    )
    longer, shorter = chat("s", "u", [first, second]), chat("s", "u", [first])
    assert longer.text.startswith(shorter.text.split("System:")[0])
    assert longer.marks == (*shorter.marks, longer.text.index("System:"))
    assert shorter.marks == (shorter.text.index("System:"),)


@pytest.mark.parametrize("step", ["memory", "reasoning", "integration"])
def test_a_long_history_is_shortened_from_its_beginning(step: str) -> None:
    """Every next prompt knows fewer turns, the latest ones, down to none; what was asked is in all of them."""
    history = [Turn(user=f"turn {number}", assistant="yes") for number in range(9)]
    outputs = {"memory": StepOutput(text="note " * 300)}
    prompts = [prompt.text for prompt in named(step).prompts(spec("hi"), history, outputs)]
    known = [[number for number in range(9) if f"User: turn {number}\n" in prompt] for prompt in prompts]
    assert known[:5] == [list(range(9)), [5, 6, 7, 8], [7, 8], [8], []]
    assert all(prompt.endswith("\n\nUser: hi\n\nAssistant:") for prompt in prompts)
    assert [len(prompt) for prompt in prompts] == sorted(map(len, prompts), reverse=True)


@pytest.mark.parametrize("step", STEPS)
def test_a_template_is_marked_unless_it_holds_notes(step: str) -> None:
    """Without turns the system line is what a membrane's prompts share; integration's is another for every job."""
    prompt = named(step).prompts(spec("hi"), [], OUTPUTS)[0]
    assert prompt.marks == (() if step == "integration" else (prompt.text.index("User:"),))


def test_grammar_looks_at_the_text_alone() -> None:
    """What was said before is no concern of a correction."""
    alone = named("grammar").prompts(spec("hi"), [], {})
    assert named("grammar").prompts(spec("hi"), [Turn(user="a", assistant="b")], {}) == alone


def test_stop_strings_open_a_turn() -> None:
    """A model that writes the next turn by itself is stopped at whatever role it takes."""
    assert {f"\n\n{turn.split(':')[0]}:" for turn in chat("s", "u").text.split("\n\n")} == set(STOP)


def test_notes_are_in_order_and_named() -> None:
    """Integration shows the model what each membrane said, by its name, on lines of the system turn."""
    outputs = {"memory": StepOutput(text="first\n\nnote"), "grammar": StepOutput(text="second")}
    system = named("integration").prompts(spec("hi"), [], outputs)[0].text.split("\n\n")[0]
    assert system.splitlines()[1:] == ["Memory: first note", "Grammar: second"]


def test_failed_outputs_are_no_notes() -> None:
    """What a failed membrane left behind is not shown to the model."""
    prompt = named("integration").prompts(spec("hi"), [], OUTPUTS)[0].text
    assert "Memory: kept" in prompt
    assert "Grammar" not in prompt
    assert "half" not in prompt
    assert "gone" not in prompt


def test_long_notes_are_cut() -> None:
    """A note is at most its limit long, and is cut between words."""
    long = {"memory": StepOutput(text="sentence " * NOTE_LIMITS[0])}
    system = named("integration").prompts(spec("hi"), [], long)[0].text.split("\n\n")[0]
    note = system.splitlines()[1].removeprefix("Memory: ")
    assert len(note) <= NOTE_LIMITS[0]
    assert len(note) > NOTE_LIMITS[0] - 10
    assert set(note.rstrip("…").split()) == {"sentence"}
    assert note.endswith("…")


@given(text=st.text(alphabet="ab \n"), limit=st.integers(1, 20))
def test_a_shortened_text_is_a_line_within_its_limit(text: str, limit: int) -> None:
    """It is one line, no longer than the limit, and starts as the text does; a short text is whole."""
    line, short = " ".join(text.split()), shortened(text, limit)
    assert len(short) <= limit
    assert short == line if len(line) <= limit else short.endswith("…")
    assert line.startswith(short.removesuffix("…"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Why does ice float?", "abductive"),
        ("The bridge fell. What CAUSED it? Explain.", "abductive"),
        ("Swans are usually white.", "inductive"),
        ("Is a cell like a city?", "analogical"),
        ("What are the odds?", "probabilistic"),
        ("What came before the war?", "temporal"),
        ("Where is the key?", "spatial"),
        ("All men are mortal. Socrates is a man.", "deductive"),
        ("2 + 2", "deductive"),
        ("", "deductive"),
        ("Why is it usually where it was before?", "abductive"),
        ("He is in a hurry; whereas she likes allspice.", "deductive"),
    ],
)
def test_the_words_call_for_a_kind_of_reasoning(text: str, kind: str) -> None:
    """The first kind one of whose words stands in the text, whole and in any case; deductive when none does."""
    assert kind_of(text) == kind
    assert f"by {kind} reasoning" in named("reasoning").prompts(spec(text or "x"), [], {})[0].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"sentences": 0, "words": 0, "question": None, "entities": []}),
        ("Hello there.", {"sentences": 1, "words": 2, "question": None, "entities": []}),
        ("It rains. Why? Go home!", {"sentences": 3, "words": 5, "question": "why"}),
        ("one\n\ntwo\nthree", {"sentences": 3, "words": 3}),
        ("Is it cold?", {"question": "yes-no"}),
        ("And so, WHO came? Where to?", {"question": "who"}),
        ("He asked: “whose is it?”", {"question": "whose"}),
        ("What a day.", {"question": None}),
        ("Here Ada Lovelace met Babbage in London.", {"entities": ["Ada Lovelace", "Babbage", "London"]}),
        ("We saw Oslo. Then I saw Oslo and I’m glad.", {"entities": ["Oslo"]}),
        ("in Ärzte Straße", {"entities": ["Ärzte Straße"]}),
        ("an élan of 北京", {"entities": []}),
        ("It's 3.5 times the well-known O’Neill number.", {"sentences": 1, "words": 6, "entities": ["O’Neill"]}),
        (" ".join(["word"] * 10), {"words": 10, "complexity": "low"}),
        (" ".join(["word"] * 11), {"words": 11, "complexity": "medium"}),
        (" ".join(["word"] * 20), {"words": 20, "complexity": "medium"}),
        (" ".join(["word"] * 21), {"words": 21, "complexity": "high"}),
        ("in " + " and ".join(CITIES), {"entities": CITIES[:16]}),
    ],
)
def test_the_text_is_analysed(text: str, expected: dict[str, Any]) -> None:
    """Sentences, words, the first question's word, names inside sentences, and complexity by length."""
    assert analyse(text) | expected == analyse(text)


def test_grammar_reads_the_text_and_the_restatement() -> None:
    """Its fields are the text's analysis and the model's text without space around it."""
    fields = named("grammar").fields(spec("Is it cold?"), generation(" Is it cold? \n"))
    assert fields == analyse("Is it cold?") | {"restatement": "Is it cold?"}


def test_reasoning_reads_steps_and_a_conclusion() -> None:
    """Its fields are the kind, the sentences, the last of them, and the confidence of the model in its words."""
    fields = named("reasoning").fields(spec("Why?"), generation(" Heat rises. So it\nfloats! ", math.log(0.5)))
    steps = ["Heat rises.", "So it", "floats!"]
    assert fields == {"kind": "abductive", "steps": steps, "conclusion": "floats!", "confidence": 0.5}


def test_reasoning_reads_nothing_out_of_nothing() -> None:
    """An empty answer has no steps and an empty conclusion."""
    fields = named("reasoning").fields(spec("Why?"), generation("  \n"))
    assert (fields["steps"], fields["conclusion"]) == ([], "")


def test_an_unknown_names_error_lists_the_known_ones() -> None:
    """A membrane that does not exist raises LookupError with those that do."""
    with pytest.raises(
        LookupError, match="no membrane 'intuition'; there are: memory, reasoning, grammar, integration"
    ):
        named("intuition")


def test_every_step_has_its_membrane() -> None:
    """Each step's name leads to the membrane of that name."""
    assert [named(step).name for step in STEPS] == list(STEPS)


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    """Another process, with other hash seeds, finds the same fingerprint."""
    command = [sys.executable, "-c", "from workers.membranes import fingerprint; print(fingerprint())"]
    other = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == fingerprint()


@pytest.mark.parametrize("name", ["memory", "reasoning", "grammar", "integration", "prompt"])
def test_another_template_has_another_fingerprint(tmp_path: Path, name: str) -> None:
    """A change to the code of any membrane changes the fingerprint; a folder of the same code has the same."""
    shutil.copytree(Path(membranes.__file__).parent, tmp_path / "same", ignore=shutil.ignore_patterns("__pycache__"))
    assert fingerprint(tmp_path / "same") == fingerprint()
    with (tmp_path / "same" / f"{name}.py").open("a") as source:
        source.write("# another\n")
    assert fingerprint(tmp_path / "same") != fingerprint()
