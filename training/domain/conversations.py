"""Whole conversations: a story that is told, corrected and asked for, with everything else in between."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from training.domain import arithmetic, grammar, knowledge, reasoning, talk
from training.domain.exchange import Exchange, typed
from training.domain.memory import Story
from training.domain.words import Words


def calculation(words: Words) -> Exchange:
    """A sum or a difference."""
    return arithmetic.calculation(words.random, held_out=words.held_out)


ASIDES: tuple[tuple[Callable[[Words], Exchange], int], ...] = (
    (calculation, 34),
    (reasoning.syllogism, 24),
    (reasoning.comparison, 14),
    (reasoning.conditional, 5),
    (grammar.correction, 26),
    (grammar.kind, 9),
    (knowledge.knowledge, 22),
    (talk.small_talk, 8),
    (talk.remark, 7),
    (talk.beyond, 9),
)
"""What a conversation is about besides what is told in it, and how often."""

_DRILLS: tuple[tuple[Callable[[Words], Exchange], int], ...] = (
    (calculation, 45),
    (reasoning.syllogism, 18),
    (reasoning.comparison, 12),
    (reasoning.conditional, 5),
    (grammar.correction, 12),
    (knowledge.knowledge, 8),
)
"""What is worth saying many times over, and how often."""


def aside(words: Words) -> Exchange:
    """Something that has nothing to do with what was told."""
    makes, weights = zip(*ASIDES, strict=True)
    return words.random.choices(makes, weights)[0](words)  # type: ignore[no-any-return]


def conversation(random: Random, *, practice: bool = False) -> list[Exchange]:
    """One conversation, as people type it. Its words are never the held-out ones.

    Those for practice are more often about several people, and longer.
    """
    words = Words(random)
    shares = (14, 18, 16, 34, 14, 4) if practice else (26, 20, 23, 14, 11, 6)
    make = random.choices(_KINDS, shares)[0]
    return [typed(exchange, random) for exchange in make(words)]


def _alone(words: Words) -> list[Exchange]:
    """One to four exchanges of which each stands for itself; at times a question for what was never told."""
    random = words.random
    exchanges = [aside(words) for _ in range(random.choices((1, 2, 3, 4), (50, 25, 15, 10))[0])]
    if random.random() < 0.12:
        exchanges.insert(random.randint(0, len(exchanges)), Story(words).ask_unknown())
    return exchanges


def _drill(words: Words) -> list[Exchange]:
    """One kind of task, again and again."""
    makes, weights = zip(*_DRILLS, strict=True)
    (make,) = words.random.choices(makes, weights)
    return [make(words) for _ in range(words.random.randint(4, 12))]


def _about_a_person(words: Words) -> list[Exchange]:
    """A few facts, a correction perhaps, distractions, questions."""
    random, story = words.random, Story(words)
    exchanges = [story.introduce()] if random.random() < 0.5 else []
    for _ in range(random.randint(1, 4)):
        roll = random.random()
        if roll < 0.25 and story.facts:
            exchanges.append(story.correct())
        elif roll < 0.4:
            exchanges.append(aside(words))
        elif roll < 0.55:
            exchanges.append(story.tell_of())
        else:
            exchanges.append(story.tell(random.choice((1, 1, 1, 2, 3))))
        if random.random() < 0.2:
            exchanges.append(aside(words))
    return exchanges + _questions(story, random.randint(1, 5))


def _about_several(words: Words) -> list[Exchange]:
    """Facts about two or three people whom it is easy to confuse."""
    random, story = words.random, Story(words)
    exchanges = []
    for _ in range(random.randint(2, 7)):
        roll = random.random()
        if roll < 0.15 and any(fact.person for fact in story.facts.values()):
            exchanges.append(story.correct(of_others=True))
        elif roll < 0.25:
            exchanges.append(story.tell())
        elif roll < 0.35:
            exchanges.append(aside(words))
        else:
            exchanges.append(story.tell_of(random.choice((1, 1, 2))))
    return exchanges + _questions(story, random.randint(2, 6))


def _long(words: Words) -> list[Exchange]:
    """Six to ten facts among distractions, and a question for each."""
    random, story = words.random, Story(words)
    exchanges: list[Exchange] = []
    facts = random.randint(5, 10)
    while len(story.facts) < facts:
        roll = random.random()
        if roll < 0.25:
            exchanges.append(aside(words))
        elif roll < 0.4:
            exchanges.append(story.tell_of(random.choice((1, 2))))
        elif roll < 0.48 and story.facts:
            exchanges.append(story.correct())
        else:
            exchanges.append(story.tell(random.choice((1, 1, 2))))
    asked = [*story.facts.values()]
    random.shuffle(asked)
    for fact in asked:
        if random.random() < 0.12:
            exchanges.append(random.choice((story.ask_unknown, story.check))() if story.told_about() else aside(words))
        exchanges.append(story.ask(fact))
    return exchanges


def _list(words: Words) -> list[Exchange]:
    """A list to keep, distractions, and the question for it."""
    random, story = words.random, Story(words)
    tell, ask = knowledge.kept_list(words)
    between = [random.choice((story.tell, lambda: aside(words)))() for _ in range(random.randint(0, 3))]
    return [tell, *between, ask]


def _questions(story: Story, count: int) -> list[Exchange]:
    random = story.words.random
    exchanges = []
    for _ in range(count):
        roll = random.random()
        if roll < 0.28 or not story.facts:
            exchanges.append(story.ask_unknown())
        elif roll < 0.35 and story.told_about():
            exchanges.append(story.check())
        elif roll < 0.4 and len(story.facts) <= 6:
            exchanges.append(story.ask_all())
        elif roll < 0.46:
            exchanges.append(aside(story.words))
        elif roll < 0.5:
            exchanges.append(story.correct())
        else:
            exchanges.append(story.ask())
    return exchanges


_KINDS = (_alone, _drill, _about_a_person, _about_several, _long, _list)
