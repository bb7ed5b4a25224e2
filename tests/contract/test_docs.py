"""What the README says of the tree is so, and what documents lead to is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from processes import ROOT

from echo_tasks.registry import SERVICE

PACKAGES = ("echo_tasks", "cache", "workers", "echo_api", "autoscale", "monitoring", "training", "bench")


def test_the_readme_prints_every_file_of_the_packages() -> None:
    """Each module has its phrase, and no phrase is left of a module that is gone."""
    tree = (ROOT / "README.md").read_text().split("echo_tasks/              ", 1)[1].split("```", 1)[0]
    package, printed = "echo_tasks", set()
    for line in tree.splitlines():
        if match := re.match(r"(\w+)/ ", line):
            package = match[1]
        elif match := re.match(r"  (\S+\.py) +\S", line):
            printed.add(f"{package}/{match[1]}")
    files = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert printed == files


def test_every_package_is_listed_for_installation() -> None:
    """A folder with Python in it that setuptools does not know would be missing from the wheel."""
    listed = set(re.findall(r'"([\w.]+)"', re.search(r"^packages = \[(.*)\]$", _pyproject(), re.M)[1]))  # type: ignore[index]
    found = {".".join(path.parent.relative_to(ROOT).parts) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert found == listed


def test_nothing_local_is_tracked() -> None:
    """Neither data nor environments nor caches of a machine are in the repository."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert "pyproject.toml" in files
    assert not [name for name in files if name.startswith(("var/", ".venv/", ".env")) or "__pycache__" in name]


DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True).stdout.split()
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Those to files, from where the document is."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    assert [link for link in links if "://" not in link and not (document.parent / link).exists()] == []


def test_commands_name_what_there_is() -> None:
    """The service that is scaled, the namespace before what is put there, the edge's own configuration."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    assert set(re.findall(r"/api/scaling/([\w-]+)/", text)) == {SERVICE}
    reloads = re.findall(r"exec nginx (nginx .*reload)", text)
    assert set(reloads) == {"nginx -p /tmp/edge -c nginx.conf -s reload"}
    for before in text.split("k8s/secrets.sh | kubectl create")[:-1]:
        assert "kubectl apply -f k8s/00-namespace.yaml" in before[-60:]
    scaled = re.findall(r"kubectl (.*)scale deployment cognitive-service", text)
    assert set(scaled) == {"-n deep-tree-echo "}


def _pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text()
