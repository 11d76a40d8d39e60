"""Every setting, read once: flag > environment > config file > default.

The only file that reads the environment. Variables are `GENFARM_<NAME>`; the
file is `config.toml` in GENFARM_HOME.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import platformdirs
from pydantic import ByteSize, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from genfarm_shared.errors import InvalidSetting

PREFIX = "GENFARM_"
#: Mode of a folder that we make for prompts, results and passwords.
PRIVATE = 0o700
BROKER_SCHEMES = ("redis", "rediss")


class Settings(BaseSettings):
    """What a process needs to know to take part in a farm."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    #: Folder of the embedded farm: database, artefacts, logs, generated password.
    home: Path = Field(default_factory=lambda: platformdirs.user_data_path("genfarm"))
    #: SQLAlchemy URL of the store; empty: SQLite in `home`.
    store: str = ""
    #: URL of the broker; empty: the embedded farm that runs in `home`.
    broker: str = ""
    #: fsspec URL of the artefact store; empty: a folder in `home`.
    artifacts: str = ""
    #: TOML file laid over the shipped model registry; empty: `models.toml` in `home`.
    registry: str = ""
    #: Keys of the registry that this worker serves, comma-separated; empty: all.
    models: Annotated[list[str], NoDecode] = Field(default_factory=list)
    #: `auto`, `cpu`, `cuda:<index>`, a GPU uuid or a MIG uuid.
    device: str = "auto"
    #: What the weights of a worker's loaded models may take together, such as `12GB`; 0: 70 % of
    #: a GPU's memory, half of this computer's for a CPU. The rest is for caches, activations
    #: and, on a computer, everybody else: a host of several workers wants it set.
    memory: ByteSize = Field(ByteSize(0), ge=0)
    #: CPU threads of the engine process; 0: torch decides.
    threads: int = Field(0, ge=0)
    #: A worker that has not beaten for so long is dead. On one machine the end of its process
    #: is seen at once; this is for other hosts and for the frozen. Measured: 2 s false-alarms
    #: under load on two cores.
    lease_seconds: float = Field(3.0, ge=1.0)
    #: Seconds between two beats of a worker; a third of half a lease, because a keeper whose own
    #: beats are half a lease late judges nobody.
    beat_seconds: float = Field(0.5, gt=0)
    #: Seconds between two rounds of the keeper.
    tick_seconds: float = Field(0.5, gt=0)
    #: Seconds between two comparisons of rows with Redis; not measured.
    reconcile_seconds: float = Field(20.0, gt=0)
    #: Most messages of a model in Redis at once: bounds its memory to some 10 MB, and priority
    #: inversion to one window.
    window: int = Field(10_000, ge=1)
    #: Most tasks that are written and have not ended, in the whole farm: twice a million-task
    #: job, and some 2 GB of database.
    max_open: int = Field(2_000_000, ge=1)
    #: Seconds between two probes of a device that failed three, until one succeeds.
    reprobe_seconds: float = Field(60.0, gt=0)
    #: Attempts a task may use before it is failed as `worker_lost`.
    max_attempts: int = Field(5, ge=1)
    #: Seconds that a stopping worker gives its running batches.
    drain_timeout: float = Field(25.0, ge=0)
    #: Whether files carry how they were made, and results a manifest; alike on all workers of a
    #: farm, or the bytes of a file depend on where it was made.
    embed_metadata: bool = True
    #: File of the key that both are signed with, the same on every host of the farm; empty:
    #: `signing.key` in `home`, which a farm on SQLite makes for itself.
    signing_key: str = ""
    log_level: str = "INFO"

    @classmethod
    def load(cls, **flags: object) -> "Settings":
        """Settings of this process; a flag that is None counts as not given.

        Raises InvalidSetting that names the setting, its value and what was expected.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            return cls(**given)  # type: ignore[arg-type]  # checked by pydantic right here
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise InvalidSetting(
                f"setting {name} ({PREFIX}{name.upper()}) = {first['input']!r}: {first['msg']}. "
                "`genfarm config show` lists every setting and where it comes from"
            ) from None

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, models: object) -> object:
        return (
            [m.strip() for m in models.split(",") if m.strip()]
            if isinstance(models, str)
            else models
        )

    @field_validator("broker", mode="after")
    @classmethod
    def _known_scheme(cls, broker: str) -> str:
        if broker and urlsplit(broker).scheme not in BROKER_SCHEMES:
            raise ValueError(f"expected a URL that starts with one of {', '.join(BROKER_SCHEMES)}")
        return broker

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = init_settings().get("home") or os.environ.get(PREFIX + "HOME")
        folder = Path(str(home)) if home else platformdirs.user_data_path("genfarm")
        path = folder / "config.toml"
        try:
            file = TomlConfigSettingsSource(settings_cls, path)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidSetting(
                f"{path} cannot be read: {error}. Correct the file, or move it away"
            ) from error
        return (init_settings, env_settings, file)

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.home / 'farm.db'}"

    @property
    def artifacts_url(self) -> str:
        return self.artifacts or str(self.home / "artifacts")

    @property
    def registry_path(self) -> Path:
        return Path(self.registry) if self.registry else self.home / "models.toml"

    @property
    def signing_path(self) -> Path:
        return Path(self.signing_key) if self.signing_key else self.home / "signing.key"

    def origin(self, name: str) -> str:
        """Where a setting's value comes from, for people."""
        if PREFIX + name.upper() in os.environ:
            return "environment"
        file = self.home / "config.toml"
        if name in self.model_fields_set and file.exists() and name in file.read_text():
            return str(file)
        return "flag" if name in self.model_fields_set else "default"

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these settings, over this process's own."""
        values: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        values["models"] = ",".join(self.models)
        ours = {PREFIX + name.upper(): str(value) for name, value in values.items() if value != ""}
        return {**os.environ, **ours}


def misspelt(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """GENFARM_ variables that no setting has, each with the nearest real name or ''."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    found = os.environ if environ is None else environ
    unknown = [name for name in found if name.startswith(PREFIX) and name not in known]
    return {name: next(iter(difflib.get_close_matches(name, known, 1)), "") for name in unknown}


def masked(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    user = parts.username or ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}"))
