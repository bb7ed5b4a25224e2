"""What browsers are told with every answer: to run nothing, to frame nothing, to guess nothing."""

from __future__ import annotations

import base64
import hashlib
import re

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The policy of what is no page: should a browser show it after all, it loads and runs nothing."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""The resource policy keeps out no page of another origin that CORS lets in: browsers do not ask it of those."""

_PAGE = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "connect-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'"
)
_SCRIPTS = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def policy_of_page(html: str) -> str:
    """The policy of a page of our own: it runs files from here, and the very scripts that stand in it.

    Only for pages in which nothing is repeated that a client has said.
    """
    return " ".join([_PAGE, *(f"'sha256-{_digest(script)}'" for script in _SCRIPTS.findall(html))])


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
