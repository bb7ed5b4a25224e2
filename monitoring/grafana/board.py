"""What a dashboard shows, as its description says; a field that is not known is an error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Kind = Literal["timeseries", "stat", "bargauge", "heatmap", "table"]


class _Described(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Panel(_Described):
    """Queries by their legends, in a unit of Grafana's, on so many of 24 columns.

    `thresholds` are the values from which on a colour holds; below all of them it is green. A `table` has a row for
    each series, and a `heatmap` wants one query, by `le`.
    """

    title: Text
    about: Text
    unit: Text
    queries: dict[str, Text] = Field(min_length=1)
    kind: Kind = "timeseries"
    width: int = Field(8, ge=3, le=24)
    height: int = Field(8, ge=3, le=16)
    thresholds: dict[Literal["green", "yellow", "orange", "red"], float] = {}
    least: float | None = None
    most: float | None = None
    stacked: bool = False


class Row(_Described):
    """Panels from left to right, as many on a line as there is room for."""

    title: Text
    panels: list[Panel] = Field(min_length=1)


class Variable(_Described):
    """A choice at the dashboard's top, of one, several or all values of a label, by a query of Grafana's."""

    name: Text
    label: Text
    query: Text


class Mark(_Described):
    """A line through all panels wherever a query has a value."""

    name: Text
    expr: Text
    text: Text
    colour: Text


class Board(_Described):
    """A dashboard."""

    uid: Text
    title: Text
    about: Text
    rows: list[Row] = Field(min_length=1)
    variables: list[Variable] = []
    marks: list[Mark] = []


def read(path: Path) -> Board:
    """The dashboard that a file describes; raises ValueError."""
    return Board.model_validate(tomllib.loads(path.read_text()))
