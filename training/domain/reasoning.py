"""Syllogisms, conditionals and comparisons, each with the steps to its conclusion."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

from training.domain.exchange import Exchange
from training.domain.words import Words, a, plural, sentence

CANNOT_TELL = "So we cannot tell."

_ADJECTIVES = (
    ("taller", "tallest", "shorter", "shortest"),
    ("older", "oldest", "younger", "youngest"),
    ("faster", "fastest", "slower", "slowest"),
    ("stronger", "strongest", "weaker", "weakest"),
    ("richer", "richest", "poorer", "poorest"),
    ("bigger", "biggest", "smaller", "smallest"),
    ("heavier", "heaviest", "lighter", "lightest"),
)
_VERBS = (
    ("sing", "sings"),
    ("dance", "dances"),
    ("run", "runs"),
    ("sleep", "sleeps"),
    ("laugh", "laughs"),
    ("cook", "cooks"),
    ("swim", "swims"),
    ("read", "reads"),
    ("smile", "smiles"),
    ("work", "works"),
)
Puzzle = tuple[list[str], str, str]
"""Premises in any order, the question, and the answer: no marks on the first two."""


class _Class:
    """A class of things, or a quality: what something can be said to be."""

    def __init__(self, words: Words, *, may_be_quality: bool = False) -> None:
        self.is_quality = may_be_quality and words.random.random() < 0.25
        word = words.draw("quality" if self.is_quality else "kind")
        self.one = word if self.is_quality else a(word)
        self.many = word if self.is_quality else plural(word)

    @property
    def any_one(self) -> str:
        return f"not everything {self.many} is" if self.is_quality else f"not every {self.one.split(' ', 1)[1]} is"


def syllogism(words: Words) -> Exchange:
    """One or two steps from classes to one of their members, or to a class."""
    random = words.random
    puzzle = random.choice(_SYLLOGISMS)
    premises, question, answer = puzzle(words)
    if random.random() < 0.12:
        premises.append(_all(random, _Class(words), _Class(words)))
    return _exchange(random, premises, question, answer)


def conditional(words: Words) -> Exchange:
    """If one does, the other does: forwards, backwards, and where nothing follows."""
    random = words.random
    one, other = words.draw("name"), words.draw("name")
    (do_one, does_one), (do_other, does_other) = random.choice(_VERBS), random.choice(_VERBS)
    first, second = f"{one} {does_one}", f"{other} {does_other}"
    not_first, not_second = f"{one} does not {do_one}", f"{other} does not {do_other}"
    rule = random.choice((f"if {first}, {second}", f"if {first}, then {second}", f"{second} if {first}"))
    plain = f"if {first}, {second}"
    premise, question, answer = random.choice(
        (
            (first, f"does {other} {do_other}", f"{first}, and {plain}. So yes, {second}."),
            (not_second, f"does {one} {do_one}", f"{not_second}, but {plain}. So no, {not_first}."),
            (second, f"does {one} {do_one}", f"{second}, but perhaps for another reason. {CANNOT_TELL}"),
            (
                not_first,
                f"does {other} {do_other}",
                f"{not_first}, and then we know nothing about {other}. {CANNOT_TELL}",
            ),
        )
    )
    return _exchange(random, [rule, premise], question, answer)


def comparison(words: Words) -> Exchange:
    """Two to four people in a row, told in any order and from either end."""
    random = words.random
    more, most, less, least = random.choice(_ADJECTIVES)
    people = [words.draw("name") for _ in range(random.choices((2, 3, 4), (15, 75, 10))[0])]
    if len(people) == 3 and random.random() < 0.12:
        return _undecided(random, people, more, most, less, least)
    pairs = list(pairwise(people))
    chain = sentence(", and ".join(f"{one} is {more} than {other}" for one, other in pairs))
    first, last = people[0], people[-1]
    questions = [
        (f"who is {random.choice(('the ', ''))}{most}", f"{first} is the {most}."),
        (f"who is {random.choice(('the ', ''))}{least}", f"{last} is the {least}."),
        (f"is {first} {more} than {last}", f"yes, {first} is {more} than {last}."),
        (f"is {last} {more} than {first}", f"no, {last} is not {more} than {first}."),
        (f"is {last} {less} than {first}", f"yes, {last} is {less} than {first}."),
        (f"is {first} {less} than {last}", f"no, {first} is not {less} than {last}."),
        (f"who is {more}, {' or '.join(random.sample((first, last), 2))}", f"{first} is {more} than {last}."),
        (f"who is {less}, {' or '.join(random.sample((first, last), 2))}", f"{last} is {less} than {first}."),
    ]
    question, conclusion = random.choices(questions, (4, 4, 1, 1, 1, 1, 1, 1))[0]
    return _exchange(random, _told(random, pairs, more, less), question, f"{chain} So {conclusion}")


def _told(random: Random, pairs: list[tuple[str, str]], more: str, less: str) -> list[str]:
    return [
        f"{one} is {more} than {other}" if random.random() < 0.6 else f"{other} is {less} than {one}"
        for one, other in pairs
    ]


def _undecided(random: Random, people: list[str], more: str, most: str, less: str, least: str) -> Exchange:
    top, one, other = people
    if random.random() < 0.5:
        pairs, asked = [(top, one), (top, other)], least
        answer = f"{top} is {more} than {one} and {other}, but nobody compared {one} and {other}. {CANNOT_TELL}"
    else:
        pairs, asked = [(one, top), (other, top)], most
        answer = f"{one} and {other} are {more} than {top}, but nobody compared {one} and {other}. {CANNOT_TELL}"
    # The two are named in the order in which they were told, so the premises keep theirs.
    return _exchange(random, _told(random, pairs, more, less), f"who is the {asked}", answer, shuffled=False)


def _exchange(random: Random, premises: list[str], question: str, answer: str, *, shuffled: bool = True) -> Exchange:
    if shuffled:
        random.shuffle(premises)
    text = " ".join([*map(sentence, premises), sentence(question, "?")])
    return Exchange(text, sentence(answer, ""), "reasoning")


def _all(random: Random, one: _Class, other: _Class) -> str:
    forms = [f"all {one.many} are {other.many}", f"all {one.many} are {other.many}"]
    if not one.is_quality:
        forms.append(f"every {one.one.split(' ', 1)[1]} is {other.one}")
    return random.choice(forms)


def _member_yes(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"{x} is {one.one}"]
    answer = f"{x} is {one.one}, and all {one.many} are {other.many}. So yes, {x} is {other.one}."
    return premises, f"is {x} {other.one}", answer


def _member_no(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words, may_be_quality=True)
    premises = [f"no {one.many} are {other.many}", f"{x} is {one.one}"]
    answer = f"{x} is {one.one}, and no {one.many} are {other.many}. So no, {x} is not {other.one}."
    return premises, f"is {x} {other.one}", answer


def _excluded(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words)
    premises = [f"no {one.many} are {other.many}", f"{x} is {other.one}"]
    answer = f"{x} is {other.one}, and no {one.many} are {other.many}. So no, {x} is not {one.one}."
    return premises, f"is {x} {one.one}", answer


def _not_a_member(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"{x} is not {other.one}"]
    answer = f"{x} is not {other.one}, but all {one.many} are {other.many}. So no, {x} is not {one.one}."
    return premises, f"is {x} {one.one}", answer


def _converse(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"{x} is {other.one}"]
    answer = f"{x} is {other.one}, but {other.any_one} {one.one}. {CANNOT_TELL}"
    return premises, f"is {x} {one.one}", answer


def _outside(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"{x} is not {one.one}"]
    answer = f"{x} is not {one.one}, but other things may be {other.many}. {CANNOT_TELL}"
    return premises, f"is {x} {other.one}", answer


def _only_some(words: Words) -> Puzzle:
    x, one, other = words.draw("name"), _Class(words), _Class(words, may_be_quality=True)
    premises = [f"some {one.many} are {other.many}", f"{x} is {one.one}"]
    answer = f"{x} is {one.one}, but only some {one.many} are {other.many}. {CANNOT_TELL}"
    return premises, f"is {x} {other.one}", answer


def _unrelated(words: Words) -> Puzzle:
    x, one, other, third = words.draw("name"), _Class(words), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"{x} is {one.one}"]
    answer = f"{x} is {one.one}, but we know nothing about {third.many}. {CANNOT_TELL}"
    return premises, f"is {x} {third.one}", answer


def _two_steps_yes(words: Words) -> Puzzle:
    x, one, other, third = words.draw("name"), _Class(words), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), _all(words.random, other, third), f"{x} is {one.one}"]
    steps = f"{x} is {one.one}, all {one.many} are {other.many}, and all {other.many} are {third.many}"
    return premises, f"is {x} {third.one}", f"{steps}. So yes, {x} is {third.one}."


def _two_steps_no(words: Words) -> Puzzle:
    x, one, other, third = words.draw("name"), _Class(words), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"no {other.many} are {third.many}", f"{x} is {one.one}"]
    steps = f"{x} is {one.one}, all {one.many} are {other.many}, and no {other.many} are {third.many}"
    return premises, f"is {x} {third.one}", f"{steps}. So no, {x} is not {third.one}."


def _two_steps_back(words: Words) -> Puzzle:
    x, one, other, third = words.draw("name"), _Class(words), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), _all(words.random, other, third), f"{x} is {third.one}"]
    answer = f"{x} is {third.one}, but {third.any_one} {other.one}. {CANNOT_TELL}"
    return premises, f"is {x} {one.one}", answer


def _side_by_side(words: Words) -> Puzzle:
    x, one, other, third = words.draw("name"), _Class(words), _Class(words), _Class(words)
    premises = [_all(words.random, one, other), _all(words.random, third, other), f"{x} is {one.one}"]
    answer = f"{x} is {one.one}, and all {one.many} are {other.many}, but {other.any_one} {third.one}. {CANNOT_TELL}"
    return premises, f"is {x} {third.one}", answer


def _classes_yes(words: Words) -> Puzzle:
    one, other, third = _Class(words), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), _all(words.random, other, third)]
    steps = f"all {one.many} are {other.many}, and all {other.many} are {third.many}"
    return premises, f"are all {one.many} {third.many}", f"{steps}. So yes, all {one.many} are {third.many}."


def _classes_no(words: Words) -> Puzzle:
    one, other, third = _Class(words), _Class(words), _Class(words, may_be_quality=True)
    premises = [_all(words.random, one, other), f"no {other.many} are {third.many}"]
    steps = f"all {one.many} are {other.many}, and no {other.many} are {third.many}"
    return premises, f"are any {one.many} {third.many}", f"{steps}. So no, no {one.many} are {third.many}."


_SYLLOGISMS: tuple[Callable[[Words], Puzzle], ...] = (
    _member_yes,
    _member_yes,
    _member_no,
    _excluded,
    _not_a_member,
    _converse,
    _outside,
    _only_some,
    _unrelated,
    _two_steps_yes,
    _two_steps_yes,
    _two_steps_no,
    _two_steps_back,
    _side_by_side,
    _classes_yes,
    _classes_no,
)
