"""Has files and results say how they were made, under the farm's key.

Runs in the worker process, on the recorder's threads. Knows no engine: what models are made of
it is told.
"""

import importlib.metadata
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genfarm_shared import provenance, signing
from genfarm_shared.carriers import put_png_text
from genfarm_shared.errors import InvalidSetting
from genfarm_shared.provenance import PARAMETERS, Made
from genfarm_shared.settings import Settings
from genfarm_shared.signing import Signer
from genfarm_shared.store import Store
from genfarm_shared.tasks import Artifact, Claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.infotext import write_infotext

log = logging.getLogger(__name__)

#: What makes bytes, as far as versions go. All of them, used or not: which ones an engine
#: process has loaded depends on what it did before.
PACKAGES = ("genfarm", "torch", "transformers", "diffusers")


class Prover:
    """Writes notes into files, and manifests. Safe for many threads."""

    def __init__(
        self, signer: Signer | None, worker_id: str, standing: Callable[[str], Mapping[str, Any]]
    ) -> None:
        """`standing` says of a model what its results are made with, see `standing_of`."""
        self._signer = signer
        self._worker_id = worker_id
        self._standing = standing
        self._versions = _versions()

    def embed(
        self, data: bytes, media_type: str, claim: Claim, output: Output, place: int
    ) -> bytes:
        """The file with its note; `place` is its own among the task's files.

        Nothing goes in that another run of the task could give differently.
        """
        if not provenance.can_embed(data, media_type):
            return data
        said = output.output or {}
        seeds = said.get("seeds") or ()
        facts = {
            "kind": claim.kind,
            "model": claim.model,
            "params": {**claim.params, "seed": claim.seed},
            "file": place,
            "file_seed": seeds[place] if place < len(seeds) else claim.seed,
            "versions": self._versions,
            **self._standing(claim.model),
        }
        if media_type == "image/png":
            data = put_png_text(data, PARAMETERS, write_infotext(facts, said))
        return provenance.embed(data, media_type, facts, self._signer)

    def vouch(self, claim: Claim, output: Output, files: Sequence[Artifact]) -> dict[str, Any]:
        """The result's metrics with its manifest; without, where neither model nor file is."""
        about = self._standing(claim.model)
        if not (files or about["model_sha256"]):  # a drill: many a second, and nothing generated
            return output.metrics
        made = Made(
            task_id=claim.task_id,
            attempt=claim.attempt,
            kind=claim.kind,
            model=claim.model,
            params=claim.params,
            seed=claim.seed,
            output=output.output,
            artifacts=[file.sha256 for file in files],
            worker_id=self._worker_id,
            batch_size=output.metrics.get("batch_size", 1),
        )
        said = provenance.sign_manifest(made, {**about, "versions": self._versions}, self._signer)
        return {**output.metrics, "manifest": said}


def make_prover(
    settings: Settings, store: Store, worker_id: str, standing: Callable[[str], Mapping[str, Any]]
) -> Prover | None:
    """None where files are to carry nothing. Raises InvalidSetting for a key that does not fit."""
    if not settings.embed_metadata:
        return None
    return Prover(find_signer(settings, store), worker_id, standing)


def find_signer(settings: Settings, store: Store) -> Signer | None:
    """The farm's key, None for a farm that has none.

    A farm on SQLite is on one computer and makes its key. One on PostgreSQL may have hosts that
    do not share a home, so somebody must give all of them the same: a file's bytes may not depend
    on the host. Raises InvalidSetting where this host has another than the others.
    """
    path = settings.signing_path
    if not (settings.signing_key or store.is_sqlite or path.exists()):
        known = store.signing_keys()
        if known:
            raise _mismatch(known[-1], f"this host has no {path}")
        log.info("files are not signed: GENFARM_SIGNING_KEY names no key")
        return None
    named = settings.signing_key  # one that a person named and is not there is a mistake
    signer = signing.read_signer(path) if named else signing.ensure_signer(path)
    if not store.adopt_key(signer.key):
        raise _mismatch(store.signing_keys()[-1], f"{path} has another, {signer.key}")
    return signer


def standing_of(
    catalog: Mapping[str, ModelEntry],
    device: str,
    digests: Mapping[str, str],
    slots: Mapping[str, int],
) -> Callable[[str], Mapping[str, Any]]:
    """What says of a model what decides its bytes beside the parameters. The mappings live on."""
    usual = "float32" if device == "cpu" else "bfloat16"

    def standing(model: str) -> Mapping[str, Any]:
        dtype = catalog[model].dtype
        return {
            "model_sha256": digests.get(model, ""),
            "precision": usual if dtype == "auto" else dtype,
            "device": device,
            "slots": slots[model],
        }

    return standing


def _mismatch(known: str, found: str) -> InvalidSetting:
    return InvalidSetting(
        f"the workers of this farm sign with the key {known}, and {found}. Copy the farm's key to "
        "this host and name it by GENFARM_SIGNING_KEY; to change the key, stop every worker first; "
        "or set GENFARM_EMBED_METADATA=0 on all hosts"
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
