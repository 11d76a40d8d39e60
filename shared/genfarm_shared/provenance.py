"""What a file says of how it was made, what a result's row says, and whether that is true.

A file's note is one line of facts, JSON, and one with a signature of that line:

    {"device":"cpu","key":"<public key>",...,"sha256":"<of the file without the note>",...}
    <128 hexadecimal digits, none where the farm has no key>

Only what is the same for every run of a task stands there: no time, no worker, no batch mates.
Those are in the manifest, which is made of a result's row. Of it the row keeps what stands
nowhere else in the row (`metrics["manifest"]`), and the signature of the whole.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genfarm_shared.carriers import CARRIERS, drop_png_text, part
from genfarm_shared.signing import KEY, Signer, is_signed
from genfarm_shared.tasks import TaskRecord

#: Version of both records.
VERSION = 1
#: Levels of a record; far more than any kind has, far fewer than Python bears.
_DEEPEST = 64
#: Keyword of the PNG text that common tools read.
PARAMETERS = "parameters"
#: Metric of a row that is the best of its rivals: the task that made it, whose row is signed.
CHOSEN = "chosen_task"
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_FILE, _MANIFEST = b"genfarm file\n", b"genfarm manifest\n"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a look at a file or a result found."""

    #: Whether every check passed.
    ok: bool
    #: For people: who signed, or which check failed.
    said: str
    #: What it says of itself, be it true or not; empty where it says nothing.
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: Public key that it names.
    key: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A result, as its worker and its reader both see it."""

    task_id: str
    attempt: int
    kind: str
    #: Registry key.
    model: str
    params: Mapping[str, Any]
    seed: int
    output: Mapping[str, Any] | None
    #: SHA-256 of each.
    artifacts: Sequence[str]
    worker_id: str
    #: Tasks that shared its device call.
    batch_size: int


def canonical(value: object) -> str:
    """The one spelling of a JSON value; ASCII, no line end."""
    return _encode(value)


def hash_of(value: object) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def can_embed(data: bytes, media_type: str) -> bool:
    carrier = CARRIERS.get(media_type)
    return carrier is not None and carrier.can_carry(data)


def embed(data: bytes, media_type: str, facts: Mapping[str, Any], signer: Signer | None) -> bytes:
    """The file with its note. Only where `can_embed`."""
    whole = {
        **facts,
        "v": VERSION,
        "sha256": hashlib.sha256(data).hexdigest(),
        "key": signer.key if signer else "",
    }
    line = canonical(whole).encode()
    signature = signer.sign(_FILE + line) if signer else ""
    return CARRIERS[media_type].insert(data, line + b"\n" + signature.encode())


def strip(data: bytes) -> bytes:
    """The file as its encoder gave it."""
    found = part(data)
    if found is None:
        return data
    is_png = CARRIERS["image/png"].can_carry(found.bare)
    return drop_png_text(found.bare, PARAMETERS) if is_png else found.bare


def read_facts(line: str) -> dict[str, Any]:
    """What a note or a line of manifests says; empty for what no farm wrote."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) and _nests(facts, _DEEPEST) else {}


def prove_file(data: bytes, trusted: Collection[str]) -> Proof:
    """Whether nothing of the file was changed since one of the trusted keys signed it."""
    found = part(data)
    if found is None:
        return Proof(
            False,
            "carries no note of genfarm: it was made elsewhere, was saved again by another "
            "program, is of a kind that carries none, or the note itself was changed",
        )
    line, _, signature = found.note.decode("ascii").partition("\n")
    facts = read_facts(line)
    key = str(facts.get("key", ""))
    if not facts:
        return Proof(False, "its note was changed: it is no JSON of ours any more")
    if key and facts.get("sha256") != hashlib.sha256(found.bare).hexdigest():
        said = "its content was changed: its SHA-256 is not the one in its note"
        return Proof(False, said, facts, key)
    return _judge(facts, key, signature, _FILE + line.encode(), trusted)


def manifest_of(record: TaskRecord) -> dict[str, Any]:
    """All that is said of a result, with the signature; empty where its worker said nothing."""
    said = record.metrics.get("manifest")
    if not said:
        return {}
    made = Made(
        task_id=record.id,
        attempt=record.attempt,
        kind=record.kind,
        model=record.model,
        params=record.params,
        seed=record.seed,
        output=record.output,
        artifacts=[artifact.sha256 for artifact in record.artifacts],
        worker_id=record.worker_id or "",
        batch_size=record.metrics.get("batch_size", 1),
    )
    return whole_manifest(made, said)


def whole_manifest(made: Made, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a result: what its row keeps, and what stands in the row anyway."""
    return {
        **said,
        "task": made.task_id,
        "attempt": made.attempt,
        "kind": made.kind,
        "model": made.model,
        "prompt_sha256": hash_of(made.params.get("prompt", made.params.get("text"))),
        "params_sha256": hash_of(made.params),
        "seed": made.seed,
        "output_sha256": hash_of(made.output),
        "artifacts": list(made.artifacts),
        "worker": made.worker_id,
        "batch_size": made.batch_size,
    }


def sign_manifest(made: Made, about: Mapping[str, Any], signer: Signer | None) -> dict[str, Any]:
    """What the row of a result keeps as its manifest; `about` stands nowhere else in it."""
    said = {**about, "v": VERSION, "key": signer.key if signer else ""}
    return {**said, "sig": signer.sign(_signed_part(whole_manifest(made, said))) if signer else ""}


def prove_manifest(manifest: Mapping[str, Any], trusted: Collection[str]) -> Proof:
    """Whether a manifest is as one of the trusted keys signed it."""
    if not manifest:
        said = "has no manifest: its worker ran with GENFARM_EMBED_METADATA=0, or before there were"
        return Proof(False, said)
    facts = {name: value for name, value in manifest.items() if name != "sig"}
    key, signature = str(manifest.get("key", "")), str(manifest.get("sig", ""))
    return _judge(facts, key, signature, _signed_part(manifest), trusted)


def _judge(
    facts: Mapping[str, Any], key: str, signature: str, message: bytes, trusted: Collection[str]
) -> Proof:
    if not key:
        said = "is not signed: its farm has no key. GENFARM_SIGNING_KEY names one for its workers"
    elif not KEY.fullmatch(key):
        said = "was changed: the key that it names is none"
    elif not is_signed(key, signature, message):
        said = f"its parameters or its signature were changed: they are not what {key} signed"
    elif key not in trusted:
        known = f"the known are {', '.join(sorted(trusted))}" if trusted else "none is known here"
        said = f"is signed by {key}, which is not a key of this farm ({known})"
    else:
        return Proof(True, f"is as it was signed by {key}", facts, key)
    return Proof(False, said, facts, key)


def _signed_part(manifest: Mapping[str, Any]) -> bytes:
    facts = {name: value for name, value in manifest.items() if name != "sig"}
    return _MANIFEST + canonical(facts).encode()


def _nests(value: object, most: int) -> bool:
    """Whether a JSON value is that deep at most, so that whatever walks it comes back."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most > 0 and all(_nests(part, most - 1) for part in parts)
