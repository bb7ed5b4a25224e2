"""Path parts that have a form: what does not fit it is not found, and never reaches the ledger."""

from __future__ import annotations

from werkzeug.routing import BaseConverter


class JobId(BaseConverter):
    """A job's id, as `intake` makes them."""

    regex = "[0-9a-f]{32}"


class CacheKey(BaseConverter):
    """The rest of a path, whatever it is: slashes and line breaks, too. Literal beginnings go before it."""

    regex = r"[\s\S]+"
    part_isolating = False
    weight = 200


class SessionId(BaseConverter):
    """A session's id, as clients may name it."""

    regex = "[A-Za-z0-9_-]{1,128}"
