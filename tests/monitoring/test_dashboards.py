"""The dashboards: drawn from their descriptions, complete, and consistent."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import expressions
import fast_yaml
import pytest
from processes import ROOT
from pydantic import ValidationError

from monitoring.grafana.__main__ import drawn
from monitoring.grafana.board import Board, read

BOARDS = sorted((ROOT / "monitoring" / "grafana" / "boards").glob("*.toml"))
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in expressions.dashboards().items()
    for panel in board["panels"]
    if panel["type"] != "row"
]


def test_there_are_four_as_drawn_from_their_descriptions() -> None:
    """`python -m monitoring.grafana` was run after the last change, and nothing was changed by hand."""
    files = drawn()
    assert sorted(path.stem for path in files) == ["celery", "engine", "performance", "resources"]
    assert {path: path.read_text() for path in expressions.DASHBOARDS} == files


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_is_complete(panel: dict[str, Any]) -> None:
    """Description, unit, thresholds, the chosen data source, and queries with distinct letters."""
    defaults = panel["fieldConfig"]["defaults"]
    assert len(panel["description"]) > 20
    assert defaults["unit"]
    values = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert values[0] is None
    assert values[1:] == sorted(values[1:])
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for told in (panel, *panel["targets"]):
        assert told["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", expressions.dashboards())
def test_panels_lie_side_by_side(name: str) -> None:
    """None overlaps another or leaves the page; numbers are distinct."""
    panels = expressions.dashboards()[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("name", expressions.dashboards())
def test_every_variable_is_offered_and_used(name: str) -> None:
    """A query names no variable that the dashboard has not, and the dashboard has none that no query names."""
    board = expressions.dashboards()[name]
    offered = {variable["name"] for variable in board["templating"]["list"]}
    ours = [asked.text for asked in expressions.raw() if asked.where.startswith(f"{name}:")]
    used = {found for text in ours for found in expressions.variables(text)}
    assert used | {"datasource"} == offered


def test_names_of_dashboards_are_distinct() -> None:
    """Grafana keeps a dashboard by its uid."""
    boards = expressions.dashboards().values()
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == 4


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('unitt = "s"', "unitt"),
        ("width = 30", "width"),
        ('kind = "pie"', "kind"),
        ("thresholds = { mauve = 1 }", "mauve"),
    ],
)
def test_a_description_with_a_fault_is_refused(line: str, word: str, tmp_path: Path) -> None:
    """A field that is unknown, or a value that Grafana would not know, is named."""
    text = f"""
uid = "x"
title = "x"
about = "x"
[[rows]]
title = "x"
[[rows.panels]]
title = "x"
about = "x"
unit = "s"
{line}
queries."x" = 'up'
"""
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ValidationError, match=word):
        read(path)
    path.write_text(text.replace(line, ""))
    assert read(path).rows[0].panels[0].queries == {"x": "up"}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_no_text_of_a_description_is_lost(path: Path) -> None:
    """What the file has, the model has: no key is written twice under different tables."""
    described = tomllib.loads(path.read_text())
    board = Board.model_validate(described)
    assert [row["title"] for row in described["rows"]] == [row.title for row in board.rows]
    assert sum(len(row["panels"]) for row in described["rows"]) == path.read_text().count("[[rows.panels]]")


def test_grafana_is_told_where_everything_is() -> None:
    """The sources that dashboards ask, and the folder that they lie in."""
    folder = ROOT / "monitoring" / "grafana" / "provisioning"
    sources = fast_yaml.load((folder / "datasources" / "datasources.yml").read_text())["datasources"]
    assert {source["type"] for source in sources} == {"prometheus", "jaeger"}
    assert [source["name"] for source in sources if source.get("isDefault")] == ["Prometheus"]
    (provider,) = fast_yaml.load((folder / "dashboards" / "dashboards.yml").read_text())["providers"]
    assert provider["options"]["path"] == "$GF_PATHS_PROVISIONING/dashboards"
    assert all(path.parent == folder / "dashboards" for path in expressions.DASHBOARDS)
