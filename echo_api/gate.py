"""The gate before every route: who asks, whether he may, and whether not too often. One round trip to the broker."""

from __future__ import annotations

import hmac
import time

import structlog
from flask import g, request
from flask_openapi3 import OpenAPI

from echo_api import needs, presented, rates
from echo_api.callers import ADMIN, ANYBODY, STRANGER, Caller
from echo_api.farm import Farm, farm
from echo_api.needs import Need
from echo_api.permits import Permit
from echo_api.problems import RequestProblem, unauthenticated
from echo_tasks import tracing
from echo_tasks.access import credentials, exposure
from echo_tasks.access.admission import Admission
from echo_tasks.access.credentials import Credential, digest
from echo_tasks.settings import Settings

_STANDINGS = {
    "unknown": "that is no key of this farm's",
    "expired": "the key has expired",
    "revoked": "the key was revoked",
}


def install(app: OpenAPI) -> None:
    """Have every request pass the gate; the application's routes are all there by now."""
    needs.document(app)
    wanted = needs.by_route(app)

    def enter() -> None:
        if request.url_rule is None or request.method == "OPTIONS":  # there is nothing to be had
            return
        _admit(wanted[request.endpoint or "", request.method])

    app.before_request(enter)
    app.after_request(rates.tell)


def _admit(need: Need) -> None:
    """Set who the caller is. Raises RequestProblem: 401, 403, 429."""
    seen = farm().wakeups.key_changes
    g.caller = _caller(farm(), need)
    g.permit = Permit(g.caller, farm().keyring, farm().wakeups, seen, time.monotonic() + g.caller.shown_ends_in_s)
    if need.scope is not None and not g.caller.may(need.scope):
        raise RequestProblem(403, f"the key is not good for this: it needs the scope {need.scope!r}")


def _caller(farm: Farm, need: Need) -> Caller:
    text = presented.key()
    if text is not None and not need.is_open:
        return _holder(farm, text)
    if _needs_key(farm.settings):
        if need.scope is not None:
            raise unauthenticated("an API key is needed, as in Authorization: Bearer KEY")
        return STRANGER
    if need.scope is not None and farm.settings.api_keys == "off" and farm.settings.requests_per_minute:
        _admission(farm, None)
    return ANYBODY


def _needs_key(settings: Settings) -> bool:
    if exposure.needs_keys(settings):
        return True
    return settings.api_keys == "auto" and not presented.is_local(settings.cors_origins)


def _holder(farm: Farm, text: str) -> Caller:
    """Whoever holds the key."""
    if _is_admin_key(farm.settings, text):
        return ADMIN
    shown = credentials.parsed(text)
    admission = _admission(farm, shown)
    if shown is None or admission.grant is None:
        raise unauthenticated(_STANDINGS[admission.standing], is_wrong=True)
    structlog.contextvars.bind_contextvars(key_id=shown.key_id)
    tracing.active().set({"echo.key_id": shown.key_id})
    return Caller.of(admission.grant, shown, admission.ends_in_s)


def _admission(farm: Farm, shown: Credential | None) -> Admission:
    """How the key stands; the request is counted, for the key or for the address. Raises RequestProblem (429)."""
    admission = farm.keyring.admit(shown, presented.client(), farm.settings.requests_per_minute)
    if admission.rate is not None:
        rates.check(admission.rate)
    return admission


def _is_admin_key(settings: Settings, text: str) -> bool:
    known = settings.api_admin_key
    return known is not None and hmac.compare_digest(*(digest(one) for one in (known.get_secret_value(), text)))
