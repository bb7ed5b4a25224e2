"""How long answers may be kept, and by whom: what browsers, the edge's cache and a CDN go by.

All that a view says nothing of is live, and kept by nobody.
"""

from __future__ import annotations

from flask import Flask, Response, request

from echo_api.farm import farm

DOCUMENTS_S = 60
"""Of the OpenAPI document and its page in a browser."""

SHARED_DOCUMENTS_S = 600
"""The same in a cache that many share; as long again it may give what it has while it asks for the new one."""

FINISHED_S = 60
"""Of a finished job. It never changes, but goes with its retention: so long a copy may outlive it."""

_DOCUMENTS = frozenset({"openapi", "swagger"})

_KEYS = ("Authorization", "X-API-Key")


def install(app: Flask) -> None:
    """Have the documents, which are the same for everybody until the next release, kept."""
    app.after_request(_document)


def finished(answer: Response) -> Response:
    """The answer of a job that has ended, with a validator; 304 where the client has it already.

    What a key opened is for its holder, who asks again each time: the key may have been revoked since. Only where
    nobody needs a key is it for anybody: what a program of this machine is told without one may be somebody's.
    """
    answer.vary.update(_KEYS)
    kept = answer.cache_control
    if any(name in request.headers for name in _KEYS):
        kept.private = kept.no_cache = True
    elif farm().settings.api_keys == "off":
        kept.public, kept.max_age, kept.s_maxage = True, FINISHED_S, FINISHED_S
    else:
        kept.private, kept.max_age = True, FINISHED_S
    return _validated(answer)


def _document(answer: Response) -> Response:
    if request.blueprint not in _DOCUMENTS or answer.status_code not in {200, 304}:
        return answer
    answer.cache_control.no_cache = None
    answer.cache_control.public = True
    answer.cache_control.max_age = DOCUMENTS_S
    answer.cache_control.s_maxage = SHARED_DOCUMENTS_S
    answer.cache_control.stale_while_revalidate = SHARED_DOCUMENTS_S
    return answer if answer.direct_passthrough else _validated(answer)


def _validated(answer: Response) -> Response:
    answer.add_etag()
    answer.make_conditional(request)
    return answer
