"""The model registry: which keys a worker serves, from which files, by which engine.

The registry is an allow-list. A request names a key; what code and files the
key stands for is written here, on the worker, and nowhere else. Loads no model.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genfarm_shared.errors import InvalidSetting, NotFound
from genfarm_shared.kinds import KINDS
from genfarm_workers.review.rules import ReviewRules

BUILTIN = Path(__file__).with_name("models.toml")


class ModelEntry(BaseModel):
    """One line of the registry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    kind: str
    #: Name in `engines/registry.py`.
    engine: str
    #: `zoo:<name>` (shipped), a directory, or `<hub repo>[@<revision>]`; empty for engines
    #: that need no files.
    source: str = ""
    #: Hash of the model's `genfarm.sha256`, as `genfarm models pin KEY` prints it; empty: not
    #: pinned here.
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    #: `float32`, `bfloat16`, `float16` or `int8`; `auto` is float32 on a CPU and bfloat16 on a
    #: GPU. `genfarm models compare KEY` says what each costs.
    dtype: str = "auto"
    #: Batch rows on the device at once. Fixed, because a fixed shape keeps a task's bytes
    #: independent of its batch mates; two workers of one farm must agree on it. Left out, it is
    #: measured by the first worker of its kind, and 16 until then.
    slots: int = Field(16, ge=1, le=4096)
    #: Used for its kind when a request names no model.
    default: bool = False
    #: Seconds without any progress after which the engine is taken for hung.
    stall_seconds: float = Field(300.0, gt=0)
    #: Defaults and bounds of this model: `steps`, `guidance_scale`, `size`, `context`, ...
    limits: dict[str, Any] = Field(default_factory=dict)
    description: str = ""
    #: What may not go in or come out, see `review/`; None: nothing is looked at.
    review: ReviewRules | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether somebody said how many slots; else they are to be measured."""
        return "slots" in self.model_fields_set


def read_catalog(extra: Path | None = None) -> dict[str, ModelEntry]:
    """The shipped registry, with the user's file laid over it key by key.

    Raises InvalidSetting that names the file and the key at fault.
    """
    entries = _read_file(BUILTIN)
    if extra is not None and extra.exists():
        entries |= _read_file(extra)
    return {key: _placed(entry, entries) for key, entry in entries.items()}


def choose(catalog: Mapping[str, ModelEntry], keys: list[str]) -> dict[str, ModelEntry]:
    """Only those keys, all of them for an empty list. Raises NotFound for an unknown one."""
    unknown = [key for key in keys if key not in catalog]
    if unknown:
        raise NotFound(
            f"no model {unknown[0]!r} in the registry; it has {', '.join(sorted(catalog))}. "
            "Add it to models.toml in GENFARM_HOME or correct the name"
        )
    return {key: catalog[key] for key in keys} if keys else dict(catalog)


def sick_file(catalog: Mapping[str, ModelEntry]) -> str:
    """The file that a drill names in its limit `sick_while`: the device counts as sick while
    the file exists. Empty where no drill is served."""
    drills = (entry for entry in catalog.values() if entry.engine == "drill")
    return next((str(e.limits["sick_while"]) for e in drills if "sick_while" in e.limits), "")


def _read_file(path: Path) -> dict[str, ModelEntry]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("models", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidSetting(f"cannot read the model registry {path}: {error}") from error
    return {key: _entry(path, key, table) for key, table in tables.items()}


def _entry(path: Path, key: str, table: Mapping[str, Any]) -> ModelEntry:
    try:
        entry = ModelEntry.model_validate({"key": key, **table})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidSetting(f"{path}: model {key!r}: {field}: {first['msg']}") from error
    if entry.kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise InvalidSetting(
            f"{path}: model {key!r}: unknown kind {entry.kind!r}; expected one of {kinds}"
        )
    return entry if entry.review is None else _near(entry, entry.review, path.parent)


def _near(entry: ModelEntry, review: ReviewRules, folder: Path) -> ModelEntry:
    """With the path of its block list, which is looked for beside the registry."""
    if not (isinstance(review.block_list, str) and review.block_list):
        return entry
    path = folder / Path(review.block_list).expanduser()
    changed = review.model_copy(update={"block_list": str(path.absolute())})
    return entry.model_copy(update={"review": changed})


def _placed(entry: ModelEntry, entries: Mapping[str, ModelEntry]) -> ModelEntry:
    """With the source of its review's classifier in the place of a key."""
    review = entry.review
    if review is None or review.classifier is None or review.classifier.source not in entries:
        return entry
    source = entries[review.classifier.source].source
    classifier = review.classifier.model_copy(update={"source": source})
    changed = review.model_copy(update={"classifier": classifier})
    return entry.model_copy(update={"review": changed})


if __name__ == "__main__":
    import json
    import sys

    from genfarm_shared.settings import Settings

    entries = read_catalog(Settings.load().registry_path).values()
    sys.stdout.write(json.dumps([entry.model_dump(mode="json") for entry in entries]) + "\n")
