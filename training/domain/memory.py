"""Facts that a person tells about themselves and others, corrects, and asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from training.domain.exchange import Exchange
from training.domain.knowledge import MONTHS
from training.domain.words import Words, a, question, sentence, together

NOT_TOLD = "You have not told me that."


@dataclass(frozen=True, slots=True)
class Relation:
    """A thing that can be told of a person: `{v}` is its value, `{p}` another person, `{k}` what it is a fact about.

    A template has neither capital nor final mark. `says` is how the model puts it to the person, and
    `says_of` how anyone puts it of another.
    """

    value: str
    says: str
    says_of: str
    tells: tuple[str, ...]
    asks: tuple[str, ...]
    asks_of: tuple[str, ...]
    changes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    tells_of: tuple[str, ...] = ()
    about: tuple[str, ...] = ("",)


_NAME = Relation(
    value="name",
    says="your name is {v}",
    says_of="",
    tells=("my name is {v}", "I am called {v}", "I am {v}", "I'm {v}", "call me {v}", "people call me {v}"),
    asks=(
        "what is my name",
        "who am I",
        "do you remember my name",
        "what am I called",
        "do you know my name",
        "tell me my name",
        "what's my name",
    ),
    asks_of=(),
    changes=("please call me {v}", "my real name is {v}", "my name is really {v}"),
    checks=("is my name {v}", "am I called {v}", "am I {v}"),
)
RELATIONS = (
    Relation(
        value="city",
        says="you live in {v}",
        says_of="{p} lives in {v}",
        tells=("I live in {v}", "my home is in {v}", "I live in the city of {v}", "my city is {v}"),
        asks=(
            "where do I live",
            "what city do I live in",
            "which city do I live in",
            "do you remember where I live",
            "where is my home",
            "do you know where I live",
            "tell me where I live",
        ),
        asks_of=("where does {p} live", "what city does {p} live in", "do you know where {p} lives"),
        changes=("I moved to {v}", "I have moved to {v}", "I live in {v} now"),
        checks=("do I live in {v}", "is my home in {v}"),
        tells_of=("{p}'s home is in {v}",),
    ),
    Relation(
        value="job",
        says="you work as {av}",
        says_of="{p} works as {av}",
        tells=("I work as {av}", "I am {av}", "my job is {av}", "I'm {av}", "I have a job as {av}"),
        asks=(
            "what is my job",
            "what do I do for work",
            "what do I work as",
            "do you remember my job",
            "what is my work",
            "what do I do",
        ),
        asks_of=("what is {p}'s job", "what does {p} do for work", "what does {p} work as", "what does {p} do"),
        changes=("I now work as {av}", "I work as {av} now", "I became {av}"),
        checks=("do I work as {av}", "am I {av}"),
        tells_of=("{p} is {av}", "{p}'s job is {av}"),
    ),
    Relation(
        value="instrument",
        says="you play the {v}",
        says_of="{p} plays the {v}",
        tells=("I play the {v}", "I can play the {v}", "I like to play the {v}", "my instrument is the {v}"),
        asks=(
            "what instrument do I play",
            "which instrument do I play",
            "what do I play",
            "do you remember what I play",
            "what is my instrument",
        ),
        asks_of=("what instrument does {p} play", "what does {p} play", "which instrument does {p} play"),
        changes=("I play the {v} now", "I now play the {v}"),
        checks=("do I play the {v}",),
        tells_of=("{p} can play the {v}", "{p} likes to play the {v}"),
    ),
    Relation(
        value="age",
        says="you are {v} years old",
        says_of="{p} is {v} years old",
        tells=("I am {v} years old", "I'm {v} years old", "my age is {v}", "I am {v}"),
        asks=("how old am I", "what is my age", "do you remember how old I am", "do you know my age"),
        asks_of=("how old is {p}", "what is {p}'s age"),
        changes=("I turned {v}", "I am now {v} years old"),
        checks=("am I {v} years old",),
        tells_of=("{p}'s age is {v}", "{p} is {v}"),
    ),
    Relation(
        value="language",
        says="you speak {v}",
        says_of="{p} speaks {v}",
        tells=("I speak {v}", "I can speak {v}", "my language is {v}"),
        asks=("what language do I speak", "which language do I speak", "what do I speak", "what is my language"),
        asks_of=("what language does {p} speak", "which language does {p} speak"),
        checks=("do I speak {v}",),
        tells_of=("{p} can speak {v}", "{p}'s language is {v}"),
    ),
    Relation(
        value="month",
        says="your birthday is in {v}",
        says_of="{p}'s birthday is in {v}",
        tells=("my birthday is in {v}", "I was born in {v}"),
        asks=("when is my birthday", "which month is my birthday in", "when was I born", "what month was I born in"),
        asks_of=("when is {p}'s birthday", "when was {p} born"),
        checks=("is my birthday in {v}", "was I born in {v}"),
        tells_of=("{p} was born in {v}",),
    ),
    Relation(
        value="favourite",
        says="your favourite {k} is {v}",
        says_of="{p}'s favourite {k} is {v}",
        tells=(
            "my favourite {k} is {v}",
            "my favorite {k} is {v}",
            "the {k} I like best is {v}",
            "I like the {k} {v} best",
        ),
        asks=(
            "what is my favourite {k}",
            "which {k} do I like best",
            "do you remember my favourite {k}",
            "what {k} do I like best",
            "what is my favorite {k}",
            "tell me my favourite {k}",
            "what's my favourite {k}",
        ),
        asks_of=("what is {p}'s favourite {k}", "which {k} does {p} like best", "what {k} does {p} like best"),
        changes=("my favourite {k} is now {v}", "I like the {k} {v} better", "now my favourite {k} is {v}"),
        checks=("is my favourite {k} {v}",),
        tells_of=("the {k} {p} likes best is {v}",),
        about=("colour", "food", "drink", "number", "animal", "city"),
    ),
    Relation(
        value="name",
        says="your {k} is called {v}",
        says_of="{p}'s {k} is called {v}",
        tells=("my {k} is called {v}", "my {k}'s name is {v}", "I have {ak} called {v}", "the name of my {k} is {v}"),
        asks=(
            "what is my {k} called",
            "what is my {k}'s name",
            "what is the name of my {k}",
            "do you remember my {k}'s name",
            "do you know what my {k} is called",
            "who is my {k}",
        ),
        asks_of=("what is {p}'s {k} called", "what is the name of {p}'s {k}"),
        checks=("is my {k} called {v}", "is {v} my {k}"),
        tells_of=("{p} has {ak} called {v}", "the name of {p}'s {k} is {v}"),
        about=("animal", "animal", "person"),
    ),
    Relation(
        value="name",
        says="your best friend is {v}",
        says_of="{p}'s best friend is {v}",
        tells=("my best friend is {v}", "{v} is my best friend", "my best friend is called {v}"),
        asks=("who is my best friend", "what is my best friend called", "do you remember my best friend's name"),
        asks_of=("who is {p}'s best friend", "what is {p}'s best friend called"),
        changes=("my best friend is {v} now", "{v} is my best friend now"),
        checks=("is my best friend {v}", "is {v} my best friend"),
    ),
    Relation(
        value="place",
        says="the {k} is in the {v}",
        says_of="",
        tells=("the {k} is in the {v}", "I put the {k} in the {v}", "I left the {k} in the {v}"),
        asks=("where is the {k}", "where did I put the {k}", "do you know where the {k} is", "where is my {k}"),
        asks_of=(),
        changes=("I moved the {k} to the {v}", "the {k} is in the {v} now"),
        checks=("is the {k} in the {v}",),
        about=("thing",),
    ),
    Relation(
        value="code",
        says="the {k} is {v}",
        says_of="",
        tells=("the {k} is {v}", "remember that the {k} is {v}", "please remember the {k} {v}", "remember the {k} {v}"),
        asks=("what is the {k}", "what was the {k}", "do you remember the {k}", "tell me the {k}"),
        asks_of=(),
        changes=("the {k} is now {v}", "the new {k} is {v}"),
        checks=("is the {k} {v}",),
        about=("code", "password", "secret word", "number"),
    ),
)
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
        name = Fact(_NAME, self.words.draw("name"))
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
        fact = Fact(_NAME, "?") if not person and not self._knows_name() else self._new(person)
        if fact.relation is _NAME and self._random.random() < 0.6:
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
        return any(fact.relation is _NAME for fact in self.facts.values())

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
        named = [fact for fact in kept.values() if fact.relation is _NAME]
        others = [fact.said for fact in kept.values() if fact.relation is not _NAME]
        answer = [f"Nice to meet you, {fact.value}." for fact in named]
        answer += [f"I will remember that {together(others)}."] if others else []
        return Exchange(text, " ".join(answer))
