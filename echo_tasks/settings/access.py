"""Who may use the API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr

LEAST_ADMIN_KEY = 32


def _hard_to_guess(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(text) < LEAST_ADMIN_KEY or not text.isascii() or not text.isprintable() or " " in text or "," in text:
        raise ValueError(f"at least {LEAST_ADMIN_KEY} printable ASCII characters, no spaces or commas, are expected")
    return key


AdminKey = Annotated[SecretStr, AfterValidator(_hard_to_guess)]


class Access(BaseModel):
    """Keys, and how often their holders may ask."""

    api_keys: Literal["auto", "required", "off"] = Field(
        "auto",
        description="who needs an API key: auto, everybody but this machine's own programs, if the API is bound to "
        "loopback; required, everybody; off, nobody. Bound elsewhere, auto does not start without a key",
    )
    api_admin_key: AdminKey | None = Field(
        None,
        description="a key of scope `admin` that is in no broker, for a farm that has none yet; unset: there is none",
    )
    requests_per_minute: int = Field(
        600,
        ge=0,
        description="requests that a key with no bound of its own may make, or an address without a key; 0: no limit",
    )
