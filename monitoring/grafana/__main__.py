"""`python -m monitoring.grafana`: draws `boards/*.toml` into the folder that Grafana is provisioned from."""

from __future__ import annotations

import json
from pathlib import Path

from monitoring.grafana.board import read
from monitoring.grafana.drawing import draw

HERE = Path(__file__).parent
DRAWN = HERE / "provisioning" / "dashboards"


def drawn() -> dict[Path, str]:
    """The dashboards' files and what is in them."""
    return {
        DRAWN / f"{path.stem}.json": json.dumps(draw(read(path)), indent=1) + "\n"
        for path in sorted((HERE / "boards").glob("*.toml"))
    }


if __name__ == "__main__":
    for path, text in drawn().items():
        path.write_text(text)
        print(path)
