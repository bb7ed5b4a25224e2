"""The list of mutations: each is one line that can be changed, and names tests that there are."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from echo_tasks import scripts
from mutations import listing
from mutations.__main__ import table
from mutations.listing import ROOT, Mutation, is_there, mutated
from mutations.tree import Outcome, Tree
from mutations.trial import Trial, Tried, Verdict

MUTATIONS = listing.read()
LUA = "echo_tasks/lua"


def text_of(mutation: Mutation) -> str:
    return (ROOT / mutation.file).read_text()


def test_every_script_and_every_area_has_mutations() -> None:
    """One at least of each Lua script, and two of each area."""
    mutated_files = {mutation.file for mutation in MUTATIONS}
    assert {f"{LUA}/{path.name}" for path in (ROOT / LUA).glob("*.lua")} <= mutated_files
    by_area = Counter(mutation.area for mutation in MUTATIONS)
    assert min(by_area.values()) >= 2, by_area
    assert len(MUTATIONS) >= 70


def test_each_is_one_line_that_occurs_once() -> None:
    """It changes something, and no two are the same."""
    for mutation in MUTATIONS:
        assert mutation.before != mutation.after, mutation
        assert "\n" not in mutation.before + mutation.after, mutation
        assert mutation.before.strip(), mutation
        assert mutated(text_of(mutation), mutation) != text_of(mutation)
    assert len({(one.file, one.before, one.after) for one in MUTATIONS}) == len(MUTATIONS)


def test_the_tests_that_are_named_exist() -> None:
    """Files and functions, none twice."""
    for mutation in MUTATIONS:
        assert mutation.tests, mutation
        assert len({*mutation.tests}) == len(mutation.tests), mutation
        assert all(is_there(ROOT, test) for test in mutation.tests), mutation


def test_none_is_a_syntax_error(broker: redis.Redis) -> None:
    """Such a line would be noticed by any test; of a script the server says so."""
    for mutation in MUTATIONS:
        text = mutated(text_of(mutation), mutation)
        if mutation.file.endswith(".py"):
            ast.parse(text)
        else:
            shared = "\n".join((ROOT / LUA / name).read_text() for name in scripts._SHARED)
            is_shared = Path(mutation.file).name in scripts._SHARED
            broker.script_load(shared.replace(text_of(mutation), text) if is_shared else f"{shared}\n{text}")


class Played(Tree):
    """A copy whose tests fail with the given outcomes, one a run; nothing is run."""

    def __init__(self, root: Path, *failed: str) -> None:
        self.root = root
        self.left_out: list[str] = []
        self._failed = iter(failed)

    def run(self, tests: Sequence[str], limit_s: float, without: Iterable[str] = ()) -> Outcome:
        self.left_out = [*without]
        return Outcome(next(self._failed), 1.0)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A checkout with one line of code and one test."""
    (tmp_path / "product.py").write_text("LIMIT = 3\n")
    (tmp_path / "test_product.py").write_text("def test_limit(): ...\n")
    return tmp_path


def tried(tree: Tree, *mutations: Mutation) -> list[tuple[Verdict, str]]:
    return [(one.verdict, one.by) for one in Trial([tree], print).run(mutations)]


def test_a_mutation_is_noticed_or_survives(product: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the test that failed first; the file is restored in between, and after the last."""
    one = Mutation(1, "limits", "product.py", "3", "4", ("test_product.py::test_limit", "test_gone.py"))
    others = replace(one, number=2), replace(one, number=3, before="5")
    found = tried(Played(product, "", "test_product.py::test_limit", ""), one, *others)
    assert found == [
        (Verdict.NOTICED, "test_product.py::test_limit"),
        (Verdict.SURVIVED, ""),
        (Verdict.NOT_TRIED, "product.py has the text 0 times: 5"),
    ]
    assert "left out, since this checkout does not have it: test_gone.py" in capsys.readouterr().out
    assert (product / "product.py").read_text() == "LIMIT = 3\n"


def test_mutations_of_a_broken_area_are_not_tried(product: Path) -> None:
    """Tests that fail without a mutation twice say nothing of one."""
    one = Mutation(1, "limits", "product.py", "3", "4", ("test_product.py",))
    assert tried(Played(product, "test_product.py", "test_product.py"), one) == [
        (Verdict.NOT_TRIED, "the area is broken")
    ]
    missing = replace(one, tests=("test_gone.py",))
    assert tried(Played(product), missing)[0][0] is Verdict.NOT_TRIED


def test_what_an_unsteady_test_says_does_not_count(product: Path) -> None:
    """One that fails without a mutation, and passes the next time."""
    one = Mutation(1, "limits", "product.py", "3", "4", ("test_product.py",))
    tree = Played(product, "test_product.py::test_slow", "", "")
    assert tried(tree, one) == [(Verdict.SURVIVED, "")]
    assert tree.left_out == ["test_product.py::test_slow"]


def test_a_copy_has_no_bytecode_of_a_mutation(product: Path) -> None:
    """Of two sources of one size and one second, Python would take the first one's."""
    kept = product / "__pycache__" / "product.cpython-311.pyc"
    kept.parent.mkdir()
    one = Mutation(1, "limits", "product.py", "3", "4", ("test_product.py",))
    kept.touch()
    with Played(product).with_mutation(one):
        assert (product / "product.py").read_text() == "LIMIT = 4\n"
        assert not kept.exists()
        kept.touch()
    assert not kept.exists()


def test_the_table_is_by_area() -> None:
    """With a sum; what was not tried does not count."""
    one = Mutation(1, "limits", "product.py", "3", "4", ("test_product.py",))
    other = replace(one, area="others")
    told = table([Tried(one, Verdict.NOTICED, "t"), Tried(one, Verdict.SURVIVED), Tried(other, Verdict.NOT_TRIED)])
    assert [line.split()[:4] for line in told.splitlines()[1:]] == [
        ["limits", "2", "1", "0.50"],
        ["others", "0", "0", "-"],
        ["all", "2", "1", "0.50"],
    ]
