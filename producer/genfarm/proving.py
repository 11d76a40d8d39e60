"""Whether files and results are as the farm made them, and whether it makes them so again.

A file says how it was made in a note of its own; one of a kind that carries none, and a text,
is spoken for by its manifest: in its row, or in a `manifest.jsonl` that `save` wrote.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.item import Item
from genfarm.link import Link
from genfarm.result import Result
from genfarm_shared.errors import InvalidTask, NotFound
from genfarm_shared.provenance import (
    CHOSEN,
    Proof,
    hash_of,
    manifest_of,
    prove_file,
    prove_manifest,
    read_facts,
    strip,
)
from genfarm_shared.signing import KEY, read_signer
from genfarm_shared.tasks import State, TaskRecord

#: What `save` writes beside files.
MANIFESTS = "manifest.jsonl"
#: A path, or a task by its id.
Named = str | os.PathLike[str] | Item
#: What decides a task's bytes beside its parameters; a note has them, and so has a manifest.
CONDITIONS = ("model_sha256", "precision", "device", "slots", "versions", "key")


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a task that was run once more."""

    #: Whether it gave the same bytes.
    same: bool
    #: For people.
    said: str
    #: By condition, as it was and as it is now; where one differs.
    differs: Mapping[str, tuple[Any, Any]]
    #: Of the new task.
    result: Result


@dataclass(frozen=True, slots=True)
class Original:
    """What is to be made again."""

    kind: str
    model: str
    #: With the seed.
    params: Mapping[str, Any]
    conditions: Mapping[str, Any]
    #: By place among the task's files: the bytes.
    files: Mapping[int, bytes]
    #: None where only a file is known.
    output: Mapping[str, Any] | None


def known_keys(link: Link | None, home_key: Path) -> list[str]:
    """Public keys to believe: those of the farm, and this computer's own."""
    own = [read_signer(home_key).key] if home_key.exists() else []
    return sorted({*own, *(link.store.signing_keys() if link else ())})


def read_key(text: str) -> str:
    """A public key from its 64 digits, or from a file of them or of the private key."""
    if KEY.fullmatch(text):
        return text
    path = Path(text)
    if path.is_file() and KEY.fullmatch(path.read_text(encoding="utf-8").strip()):
        return path.read_text(encoding="utf-8").strip()
    return read_signer(path).key


def prove(link: Link | None, made: Named, trusted: Collection[str]) -> Proof:
    """Whether that file or result is as one of the trusted keys signed it. Raises NotFound."""
    path = _file(made)
    return _prove_path(path, trusted) if path else _prove_task(_record(link, made), link, trusted)


def find_original(link: Link, made: Named) -> Original:
    """What a file or the rows of a task say of how to make it.

    Raises NotFound, and InvalidTask for a file that says nothing.
    """
    path = _file(made)
    if path is None:
        return _original_of_task(link, _record(link, made))
    data = path.read_bytes()
    facts = prove_file(data, ()).facts
    try:
        files = {int(facts["file"]): data}
        kind, model, params = str(facts["kind"]), str(facts["model"]), dict(facts["params"])
        return Original(kind, model, params, facts, files, None)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidTask(
            f"{path} carries no note of genfarm that can be read; name the task instead, or a "
            "file as the farm wrote it"
        ) from None


def compare(original: Original, result: Result) -> Replay:
    """Whether that result of the same task is the same."""
    made = dict(enumerate(map(result.read, result.artifacts)))
    changed = [place for place, data in original.files.items() if made.get(place) != data]
    is_said = original.output is None or dict(original.output) == dict(result.output)
    differs = {
        name: (original.conditions.get(name), result.manifest.get(name))
        for name in CONDITIONS
        if original.conditions.get(name) != result.manifest.get(name)
    }
    if is_said and not changed:
        said = f"the same: {_count(len(original.files), original.output)}, byte for byte"
        return Replay(True, said, differs, result)
    cause = f"what differs: {', '.join(differs)}" if differs else "nothing that was noted differs"
    alike = [p for p in changed if p in made and strip(made[p]) == strip(original.files[p])]
    is_note = is_said and alike == changed
    what = "the content is the same, the notes in the files are not" if is_note else "not the same"
    return Replay(False, f"{what}; {cause}", differs, result)


def _file(made: Named) -> Path | None:
    return None if isinstance(made, Item) or not Path(made).is_file() else Path(made)


def _record(link: Link | None, made: Named) -> TaskRecord:
    """The succeeded task of that id, JOB-INDEX. Raises NotFound."""
    task_id = made.id if isinstance(made, Item) else str(made)
    records = link.store.read_tasks([task_id]) if link else []
    if records and records[0].state is State.SUCCEEDED:
        return records[0]
    found = f"is {records[0].state}" if records else "is not in the farm" if link else "has no farm"
    raise NotFound(
        f"{task_id[:200]!r} is no file here, and as a task it {found}: expected a file, or "
        "JOB-INDEX of a task that succeeded. `genfarm jobs ls` lists jobs"
    )


def _prove_path(path: Path, trusted: Collection[str]) -> Proof:
    data = path.read_bytes()
    proof = prove_file(data, trusted)
    if proof.facts:
        return proof
    sha256 = hashlib.sha256(data).hexdigest()
    for line in _lines_beside(path):
        artifacts = line.get("artifacts")
        if isinstance(artifacts, list) and sha256 in artifacts:
            return _prove_line(line, trusted)
    return proof


def _prove_task(record: TaskRecord, link: Link | None, trusted: Collection[str]) -> Proof:
    """With the bytes of its files."""
    maker = _maker(link, record)
    proof = prove_manifest(manifest_of(maker or record), trusted)
    if "chosen" in record.metrics:
        proof = _prove_choice(record, maker, proof)
    if link is None or not proof.ok:
        return proof
    for artifact in record.artifacts:
        if hashlib.sha256(link.artifacts.read(artifact.name)).hexdigest() != artifact.sha256:
            said = f"its file {artifact.name} was changed: its SHA-256 is not its name"
            return Proof(False, said, proof.facts, proof.key)
    return proof


def _maker(link: Link | None, record: TaskRecord) -> TaskRecord | None:
    """The row that was signed for this one, which is a copy if its chain chose it; None where
    that row is gone."""
    if "chosen" not in record.metrics:
        return record
    task_id = record.metrics.get(CHOSEN)
    found = link.store.read_tasks([task_id]) if link and task_id else []
    return found[0] if found else None


def _prove_choice(record: TaskRecord, maker: TaskRecord | None, proof: Proof) -> Proof:
    """Of a row that was chosen among rivals, with the proof of the one that it is a copy of."""
    if maker is None:
        task_id = record.metrics.get(CHOSEN)
        mend = f", {task_id}, is gone" if task_id else " is not named: verify its rivals"
        return Proof(False, f"was chosen among rivals, and the row that was signed{mend}")
    if _made(record) != _made(maker):
        return Proof(False, f"was chosen, and is not as {maker.id} is, which it was chosen from")
    said = f"was chosen among rivals; what was signed is {maker.id}, and that {proof.said}"
    return Proof(proof.ok, said, proof.facts, proof.key)


def _made(record: TaskRecord) -> object:
    hashes = [artifact.sha256 for artifact in record.artifacts]
    return record.params, record.seed, record.output, hashes


def _original_of_task(link: Link, record: TaskRecord) -> Original:
    files = {
        place: link.artifacts.read(artifact.name) for place, artifact in enumerate(record.artifacts)
    }
    params = {**record.params, "seed": record.seed}
    about = manifest_of(_maker(link, record) or record)
    return Original(record.kind, record.model, params, about, files, record.output)


def _count(files: int, output: object) -> str:
    told = ["the output"] if output is not None else []
    return " and ".join([*told, *([f"{files} file{'s' * (files != 1)}"] if files else [])])


def _prove_line(line: dict[str, Any], trusted: Collection[str]) -> Proof:
    """Of a manifest with the parameters beside it."""
    params = line.pop("params", None)
    proof = prove_manifest(line, trusted)
    if params is None or not proof.ok:
        return proof
    if hash_of(params) != line["params_sha256"]:
        said = f"its parameters were changed: they are not those that {proof.key} signed"
        return Proof(False, said, proof.facts, proof.key)
    return Proof(True, proof.said, {**proof.facts, "params": params}, proof.key)


def _lines_beside(path: Path) -> Iterator[dict[str, Any]]:
    """Manifests in the file's folder and the one above it."""
    for folder in (path.absolute().parent, path.absolute().parent.parent):
        if (folder / MANIFESTS).is_file():
            with (folder / MANIFESTS).open(encoding="utf-8", errors="replace") as file:
                yield from filter(None, map(read_facts, file))
