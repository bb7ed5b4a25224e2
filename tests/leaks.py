"""What no answer may tell of the inside, whatever was asked."""

from __future__ import annotations

import re

from processes import ROOT

_INSIDE = re.compile(
    "|".join(
        (
            "Traceback",
            r'File "',
            r"\bline \d+, in\b",
            r"\.py\b",
            re.escape(str(ROOT)),
            r"site-packages",
            r"(?<!gunicorn\r\n)\b(?:werkzeug|flask|pydantic|kombu|celery|redis|gevent|gunicorn|echo_(?:api|tasks))\.\w",
            r"\b0x[0-9a-f]{8,}",
            r"127\.0\.0\.1:\d+",
        )
    ),
    re.IGNORECASE,
)


def found_in(text: str) -> list[str]:
    """The traces of the inside that a text has."""
    return _INSIDE.findall(text)
