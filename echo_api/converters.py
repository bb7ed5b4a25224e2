"""Path parts that have a form: what does not fit it is not found, and never reaches the ledger."""

from __future__ import annotations

from werkzeug.routing import BaseConverter


class JobId(BaseConverter):
    """A job's id, as `intake` makes them."""

    regex = "[0-9a-f]{32}"


class SessionId(BaseConverter):
    """A session's id, as clients may name it."""

    regex = "[A-Za-z0-9_-]{1,128}"
