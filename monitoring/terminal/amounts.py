"""Numbers as a person reads them, short enough for a column. What is not known is a dash."""

from __future__ import annotations

UNKNOWN = "–"


def count(number: float | None) -> str:
    """As in 12,034."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def per_second(number: float | None) -> str:
    """As in 3.2, or 1,204 where a tenth matters to nobody."""
    if number is None:
        return UNKNOWN
    return f"{number:.1f}" if number < 1000 else f"{number:,.0f}"


def share(ratio: float | None) -> str:
    """As in 43 %."""
    return UNKNOWN if ratio is None else f"{100 * ratio:.0f} %"


def duration(seconds: float | None) -> str:
    """As in 0.4 s, 12 s, 3 min 20 s, 5 h 2 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(size_bytes: float | None) -> str:
    """As in 512 MB, or 3.9 GB."""
    if size_bytes is None:
        return UNKNOWN
    megabytes = size_bytes / 2**20
    if megabytes < 1000:
        return f"{megabytes:.1f} MB" if megabytes < 10 else f"{megabytes:.0f} MB"
    return f"{megabytes / 1024:.1f} GB"
