"""The Flask API: HTTP to the ledger and back. It loads no model and imports no torch."""

from echo_api.app import create_app

__all__ = ["create_app"]
