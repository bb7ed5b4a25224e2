"""What a server's `/metrics` say, to be asked for by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


class Samples:
    """The samples of an exposition. Names go without `_total`: the parser adds it to every counter."""

    def __init__(self, samples: Mapping[str, list[tuple[Labels, float]]] | None = None) -> None:
        self._samples = samples or {}

    @classmethod
    def parsed(cls, text: str) -> Samples:
        """The samples of a text in Prometheus's format. Raises ValueError for what is none."""
        found: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name.removesuffix("_total")].append((sample.labels, sample.value))
        return cls(found)

    @classmethod
    def of_all(cls, several: Iterable[Samples]) -> Samples:
        """The samples of several expositions."""
        found: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
        for one in several:
            for name, samples in one._samples.items():
                found[name].extend(samples)
        return cls(found)

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the samples that have these labels; None when there is none."""
        values = [value for own, value in self._samples.get(name, []) if labels.items() <= own.items()]
        return sum(values) if values else None

    def by(self, label: str, name: str) -> dict[str, float]:
        """The sums by the values of a label, in the order in which they were told."""
        sums: dict[str, float] = defaultdict(float)
        for own, value in self._samples.get(name, []):
            sums[own.get(label, "")] += value
        return dict(sums)
