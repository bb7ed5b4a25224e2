"""gunicorn's gevent worker, whose clients have to be in time: by itself it waits for a body, or a reader, for ever."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from http import HTTPStatus
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

from echo_api import refusals
from echo_api.connection import Connection, Patience
from echo_tasks import logs
from echo_tasks.settings import current

MOST_UNREAD_BYTES = 32 * 1024 * 1024
"""What of a body that the application did not want is read nevertheless: many clients read no answer before they have
sent all, and a connection that is closed on them loses it."""

_UNREAD_AT_ONCE_BYTES = 64 * 1024

log = logs.get(__name__)


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves each connection in a greenlet."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve the requests of one connection."""
        super().handle(listener, Connection(client, Patience.of(current())), addr)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """The time to wait for a request, which is the connection's business."""
        return nullcontext()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Serve one request. Raises StopIteration where the connection is to end."""
        refusals.check_host(req)
        sock.await_body(on_slow=req.force_close)
        try:
            answered = super().handle_request(listener_name, req, sock, addr)
        except StopIteration:
            _read_out(req)
            raise
        if not _read_out(req):
            raise StopIteration
        sock.await_request()
        return answered

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what never reached the application, or broke its server."""
        status, detail = refusals.of(exc)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", exc_info=exc)
        else:
            log.info("request refused", status=int(status), client=addr[0] if addr else "", reason=type(exc).__name__)
        with suppress(OSError):
            client.sendall(refusals.answer(status, detail))


def _read_out(req: Any) -> bool:
    """Read what is left of a body; whether that was all of it. Others are served meanwhile."""
    left = 0 if req.body.failed else MOST_UNREAD_BYTES
    with suppress(OSError, *refusals.KINDS):  # what cannot be read ends the connection, and has been answered
        while left > 0:
            data = req.body.read(min(left, _UNREAD_AT_ONCE_BYTES))
            if not data:
                return True
            left -= len(data)
            gevent.sleep(0)
    return False
