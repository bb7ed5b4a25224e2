"""Flower: where it is, who may use it, and what it keeps."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from echo_tasks.settings.kinds import ONE_A_LINE, PathPrefix, Port, Secret


class Flower(BaseModel):
    """Flower's own settings keep the names that Flower gives them."""

    flower_address: str = Field("127.0.0.1", min_length=1, description="address that Flower binds")
    flower_port: Port = Field(5555, description="port of Flower")
    flower_url_prefix: PathPrefix | None = Field(
        None, description="beginning of the paths of Flower's pages behind a proxy; unset: none"
    )
    flower_read_only: bool = Field(False, description="whether Flower shows all and controls nothing")
    flower_basic_auth: Secret | None = Field(
        None,
        json_schema_extra={ONE_A_LINE: True},
        description="who may use Flower: user:password, several with commas between, or one a line of the file; "
        "unset: whoever reaches Flower sees all, and its API is off",
    )
    flower_auth: str | None = Field(
        None, description="e-mail address that may log in to Flower by OAuth; several: with bars between, or .*@domain"
    )
    flower_auth_provider: str | None = Field(
        None, description="Flower's handler of that, as in flower.views.auth.GithubLoginHandler"
    )
    flower_oauth2_key: str | None = Field(None, description="Flower's id at the OAuth provider")
    flower_oauth2_secret: Secret | None = Field(None, description="its secret there")
    flower_oauth2_redirect_uri: str | None = Field(
        None, description="URL of Flower's page /login, to which the provider sends people back"
    )
    flower_persistent: bool = Field(True, description="keep what Flower knows of tasks and workers on disk")
    flower_db: Path | None = Field(
        None, description="file of that, a pickle: nobody else may write there; unset: flower/history in ECHO_VAR"
    )
    flower_state_save_interval: int = Field(
        60_000, ge=0, description="milliseconds after which it is saved again; 0: only when Flower stops"
    )
    flower_max_tasks: int = Field(10_000, ge=1, description="tasks that Flower remembers, the latest")
    flower_max_workers: int = Field(1000, ge=1, description="workers that Flower remembers")
    flower_purge_offline_workers: int = Field(
        600, ge=1, description="seconds after which Flower forgets a worker that is gone"
    )
