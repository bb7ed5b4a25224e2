"""`python -m bench NAME [options]`: run a benchmark by its name."""

from __future__ import annotations

import sys

from bench import (
    cache,
    engine,
    farm,
    faults,
    fsync,
    gate,
    model,
    prefixes,
    resume,
    scaling,
    states,
    streams,
    surge,
    versions,
)

_BY_NAME = {
    "cache": cache.main,
    "engine": engine.main,
    "farm": farm.main,
    "faults": faults.main,
    "fsync": fsync.main,
    "gate": gate.main,
    "model": model.main,
    "prefixes": prefixes.main,
    "resume": resume.main,
    "scaling": scaling.main,
    "states": states.main,
    "streams": streams.main,
    "surge": surge.main,
    "versions": versions.main,
}

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in _BY_NAME:
        sys.exit(f"no benchmark {name!r}; there are: {', '.join(_BY_NAME)}")
    _BY_NAME[name](sys.argv[2:])
