"""Facts that a person tells about themselves and others, corrects, and asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from training.domain.exchange import Exchange
from training.domain.knowledge import MONTHS
from training.domain.relations import NAME, RELATIONS, Relation
from training.domain.words import Words, a, question, sentence, together

NOT_TOLD = "You have not told me that."


_DRAWN = ("animal", "person", "thing")
"""What a fact may be about that is a word of its own; the rest of `about` is meant literally."""

_OF_OTHERS = tuple(relation for relation in RELATIONS if relation.says_of)
_CORRECTIONS = ("actually, {t}", "no, {t}", "sorry, {t}", "I was wrong, {t}", "that is wrong, {t}", "wait, {t}")
_ASK_ALL = (
    "what do you know about me",
    "tell me what you know about me",
    "what have I told you",
    "what do you remember about me",
)
_ASK_ALL_OF = ("what do you know about {p}", "tell me about {p}", "who is {p}")


@dataclass(frozen=True, slots=True)
class Fact:
    """What holds of `person` (nobody: of the one who talks) by a relation; `about` says which of several."""

    relation: Relation
    value: str
    person: str = ""
    about: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """What the fact is about: a later fact with the same place replaces it."""
        return self.person, self.relation.says, self.about

    @property
    def said(self) -> str:
        """The fact, as the model puts it."""
        return self.put(self.relation.says_of if self.person else self.relation.says)

    def put(self, template: str) -> str:
        """The template filled with this fact."""
        words = {"v": self.value, "p": self.person, "k": self.about, "av": a(self.value)}
        return template.format_map(words | {"ak": a(self.about) if self.about else ""})


@dataclass(slots=True)
class Story:
    """What has been told in one conversation, and the exchanges that tell more, correct, and ask."""

    words: Words
    facts: dict[tuple[str, str, str], Fact] = field(default_factory=dict)
    people: list[str] = field(default_factory=list)

    @property
    def _random(self) -> Random:
        return self.words.random

    def tell(self, count: int = 1) -> Exchange:
        """The person tells facts about themselves, as many as `count`."""
        return self._told([self._new() for _ in range(count)])

    def introduce(self) -> Exchange:
        """The person tells their name, and perhaps more."""
        name = Fact(NAME, self.words.draw("name"))
        return self._told([name, *(self._new() for _ in range(self._random.choice((0, 0, 1, 2))))])

    def tell_of(self, count: int = 1) -> Exchange:
        """The person tells facts about somebody else, one they spoke of before or not."""
        if not self.people or (len(self.people) < 4 and self._random.random() < 0.6):
            self.people.append(self.words.draw("name"))
        person = self._random.choice(self.people)
        return self._told([self._new(person) for _ in range(count)])

    def correct(self, of_others: bool | None = None) -> Exchange:
        """The person corrects something they told before."""
        old = self._random.choice([fact for fact in self.facts.values() if of_others in (None, bool(fact.person))])
        new = Fact(old.relation, self._value(old.relation, old.about), old.person, old.about)
        self.facts[new.place] = new
        tells = (new.relation.says_of, *new.relation.tells_of) if new.person else new.relation.tells
        told = new.put(self._random.choice(tells))
        if new.relation.changes and not new.person and self._random.random() < 0.5:
            text = new.put(self._random.choice(new.relation.changes))
        elif told.endswith(new.value) and self._random.random() < 0.2:
            text = f"{told}, not {old.value}"
        else:
            text = self._random.choice(_CORRECTIONS).format(t=told)
        return Exchange(sentence(text), f"I will remember that {new.said}.")

    def ask(self, fact: Fact | None = None) -> Exchange:
        """The person asks for something they told."""
        fact = fact or self._random.choice([*self.facts.values()])
        asks = fact.relation.asks_of if fact.person else fact.relation.asks
        return Exchange(question(fact.put(self._random.choice(asks))), sentence(fact.said))

    def check(self) -> Exchange:
        """The person asks whether something they told is so."""
        fact = self._random.choice([fact for fact in self.facts.values() if not fact.person])
        value = fact.value if self._random.random() < 0.5 else self._value(fact.relation, fact.about)
        asked = Fact(fact.relation, value, "", fact.about).put(self._random.choice(fact.relation.checks))
        return Exchange(question(asked), f"{'Yes' if value == fact.value else 'No'}, {fact.said}.")

    def ask_unknown(self) -> Exchange:
        """The person asks for something that they never told."""
        person = self._random.choice(["", "", *self.people, self.words.draw("name")])
        fact = Fact(NAME, "?") if not person and not self._knows_name() else self._new(person)
        if fact.relation is NAME and self._random.random() < 0.6:
            fact = self._new()
        asks = fact.relation.asks_of if fact.person else fact.relation.asks
        return Exchange(question(fact.put(self._random.choice(asks))), NOT_TOLD)

    def ask_all(self) -> Exchange:
        """The person asks for all that they told, about themselves or somebody."""
        person = self._random.choice(["", *self.people])
        known = [fact.said for fact in self.facts.values() if fact.person == person]
        asks = _ASK_ALL_OF if person else _ASK_ALL
        asked = question(self._random.choice(asks).format(p=person))
        return Exchange(asked, " ".join(map(sentence, known)) if known else NOT_TOLD)

    def told_about(self, person: str = "") -> int:
        """How many facts are known of a person."""
        return sum(fact.person == person for fact in self.facts.values())

    def _knows_name(self) -> bool:
        return any(fact.relation is NAME for fact in self.facts.values())

    def _new(self, person: str = "") -> Fact:
        """A fact about what nothing was told of yet."""
        while True:
            relation = self._random.choice(_OF_OTHERS if person else RELATIONS)
            about = self._about(relation)
            if (person, relation.says, about) not in self.facts:
                return Fact(relation, self._value(relation, about), person, about)

    def _about(self, relation: Relation) -> str:
        kind = self._random.choice(relation.about)
        return (
            self.words.draw(kind) if kind in ("animal", "person", "thing") and relation.value != "favourite" else kind
        )

    def _value(self, relation: Relation, about: str) -> str:
        match relation.value:
            case "favourite":
                return self.words.draw(about)
            case "month":
                return self._random.choice(MONTHS)
            case "age":
                return str(self._random.randint(5, 99))
            case "code" if "word" in about:
                return self.words.invented()
            case "code":
                return str(self._random.randrange(10 ** self._random.randint(2, 5)))
            case kind:
                return self.words.draw(kind)

    def _told(self, facts: list[Fact]) -> Exchange:
        kept = {fact.place: fact for fact in facts}
        self.facts |= kept
        told = []
        for fact in kept.values():
            tells = (fact.relation.says_of, *fact.relation.tells_of) if fact.person else fact.relation.tells
            told.append(fact.put(self._random.choice(tells)))
        apart = self._random.random() < 0.5
        text = " ".join(map(sentence, told)) if apart else sentence(together(told))
        named = [fact for fact in kept.values() if fact.relation is NAME]
        others = [fact.said for fact in kept.values() if fact.relation is not NAME]
        answer = [f"Nice to meet you, {fact.value}." for fact in named]
        answer += [f"I will remember that {together(others)}."] if others else []
        return Exchange(text, " ".join(answer))
