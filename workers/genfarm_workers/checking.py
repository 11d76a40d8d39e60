"""Checks a claim against the registry and its kind before an engine sees it. Knows no engine."""

import importlib.metadata
from collections.abc import Mapping

from genfarm_shared.errors import InvalidTask, ModelUnavailable
from genfarm_shared.kinds import KINDS, batch_key, check_params, find_kind
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry


def checked(claim: Claim, catalog: Mapping[str, ModelEntry]) -> Claim:
    """The claim with checked parameters, and its key and rows derived from them anew.

    A row may have been written past the client's checks. Raises InvalidTask
    or ModelUnavailable.
    """
    entry = catalog.get(claim.model)
    if entry is None:
        raise ModelUnavailable(
            f"this worker serves no model {claim.model!r}; it serves {', '.join(sorted(catalog))}. "
            "Start a worker that does"
        )
    kind = find_kind(claim.kind)
    if kind.name != entry.kind:
        raise InvalidTask(f"model {claim.model!r} is for {entry.kind}, not for {kind.name}")
    params = check_params(kind, claim.params, quotes=False)
    key = batch_key(claim.model, params)
    return Claim(  # `replace` takes as long as all else that is done here for a short task
        task_id=claim.task_id,
        job_id=claim.job_id,
        attempt=claim.attempt,
        kind=claim.kind,
        model=claim.model,
        batch_key=key,
        rows=params.rows(),
        params=params.model_dump(),
        seed=claim.seed,
        suspect=claim.suspect,
        files=claim.files,
    )


def refusal(claim: Claim, error: InvalidTask) -> Failure:
    """Why a row cannot be run. What only a newer genfarm knows may be run by a newer worker."""
    kind = KINDS.get(claim.kind)
    is_known = error.param is None or (kind is not None and error.param in kind.params.model_fields)
    if is_known:
        return Failure("invalid_params", str(error))
    version = importlib.metadata.version("genfarm")
    said = f"this worker runs genfarm {version}, and the job was written by another: upgrade it"
    return Failure("invalid_params", f"{error}; {said}", retryable=True)
