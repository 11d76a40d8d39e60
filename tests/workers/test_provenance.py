"""What a worker writes into files and rows: the same on every worker, and true."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.errors import InvalidSetting
from genfarm_shared.provenance import manifest_of, prove_file, prove_manifest
from genfarm_shared.settings import Settings
from genfarm_shared.signing import Signer, ensure_signer
from genfarm_shared.store import Store
from genfarm_shared.tasks import Claim, TaskRecord
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output, Picture
from genfarm_workers.infotext import write_infotext
from genfarm_workers.provenance import Prover, find_signer, make_prover, standing_of
from genfarm_workers.recorder import Aides, Ended, Recorder
from tests.shared.farmyard import add_job, add_worker, ids

CATALOG = {"sleep": ModelEntry(key="sleep", kind="sleep", engine="sleep")}
PICTURE = Picture(2, 1, bytes(range(6)))
#: How readers of the field cut the last line: a name, a colon, a value that may be quoted.
FIELD = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def prover(signer: Signer | None, worker_id: str = "w1") -> Prover:
    standing = standing_of(CATALOG, "cpu", {"sleep": "5" * 64}, {"sleep": 16})
    return Prover(signer, worker_id, standing)


def record(store: Store, files: ArtifactStore, ended: Ended, p: Prover) -> TaskRecord:
    recorder = Recorder(store, files, p._worker_id, 3, Aides(p))
    recorder.record([ended])
    recorder.close()
    return store.read_tasks([ended.claim.task_id])[0]


def claims(store: Store, number: int, worker_id: str = "w1") -> list[Claim]:
    job = add_job(store, number)
    add_worker(store, worker_id)
    return store.claim(ids(job, number), worker_id)


def test_two_workers_write_the_same_file_for_the_same_task(store: Store, tmp_path: Path) -> None:
    """Other worker, other attempt, other batch mates, other task of the same parameters."""
    signer, files = ensure_signer(tmp_path / "signing.key"), ArtifactStore(str(tmp_path / "files"))
    (one,), (two,) = claims(store, 1, "w1"), claims(store, 1, "w2")
    outputs = [
        Output(claim.task_id, {}, [PICTURE], metrics={"batch_size": size})
        for claim, size in ((one, 1), (two, 7))
    ]
    first = record(store, files, Ended(one, outputs[0]), prover(signer, "w1"))
    second = record(store, files, Ended(two, outputs[1]), prover(signer, "w2"))
    assert first.artifacts == second.artifacts
    assert manifest_of(first)["batch_size"] == 1
    assert manifest_of(second)["worker"] == "w2"


def test_a_recorded_result_and_its_file_are_proved_from_the_rows(
    store: Store, tmp_path: Path
) -> None:
    signer, files = ensure_signer(tmp_path / "signing.key"), ArtifactStore(str(tmp_path / "files"))
    (claim,) = claims(store, 1)
    ended = Ended(claim, Output(claim.task_id, {"x": 0.1}, [PICTURE]))
    row = record(store, files, ended, prover(signer))
    assert prove_file(files.read(row.artifacts[0].name), [signer.key]).ok
    assert prove_manifest(manifest_of(row), [signer.key]).ok
    for changed in (
        replace(row, output={"x": 0.2}),
        replace(row, params={**row.params, "seconds": 1.0}),
        replace(row, seed=row.seed + 1),
        replace(row, artifacts=[]),
    ):
        assert not prove_manifest(manifest_of(changed), [signer.key]).ok


def test_a_drill_without_files_costs_no_signature(tmp_path: Path) -> None:
    standing = standing_of(CATALOG, "cpu", {}, {"sleep": 16})
    output = Output("j-0", {}, metrics={"batch_size": 2})
    claim = Claim("j-0", "j", 1, "sleep", "sleep", "sleep", 1, {}, 0)
    assert Prover(None, "w1", standing).vouch(claim, output, []) is output.metrics


def test_the_text_that_the_field_reads_gives_the_parameters_back() -> None:
    params = {"prompt": "a seven,\nbold: very", "negative_prompt": "ink, \u201ewet\u201c"}
    facts: dict[str, Any] = {"params": params, "file_seed": 9, "model": "digits"}
    facts |= {"model_sha256": "ab" * 32, "versions": {"genfarm": "1,2"}}
    said = {"steps": 4, "guidance_scale": 3.0, "scheduler": "dpm++2m-karras", "size": [32, 16]}
    *shown, last = write_infotext(facts, said).split("\n")
    assert shown == ["a seven,", "bold: very", "Negative prompt: ink, \u201ewet\u201c"]
    fields = {name: value.strip('"') for name, value in FIELD.findall(last)}
    assert FIELD.sub("", last) == ""
    assert (fields["Steps"], fields["CFG scale"], fields["Seed"]) == ("4", "3.0", "9")
    assert (fields["Sampler"], fields["Size"]) == ("DPM++ 2M Karras", "32x16")
    assert (fields["Model"], fields["Model hash"]) == ("digits", "ab" * 5)
    assert fields["Version"] == "genfarm 1,2"


@pytest.mark.parametrize("prompt", ["a drawn 7", "„sieben“ 七"])
def test_a_picture_carries_that_text_where_other_programs_look(prompt: str) -> None:
    claim = Claim("j-0", "j", 1, "drill", "sleep", "sleep", 1, {"prompt": prompt}, 3)
    output = Output("j-0", {"seeds": [3]}, [PICTURE])
    buffer = io.BytesIO()
    Image.new("RGB", (2, 1)).save(buffer, "PNG")
    data = prover(None).embed(buffer.getvalue(), "image/png", claim, output, 0)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.info["parameters"].startswith(f"{prompt}\nSeed: 3, Model hash: 5555555555")


def test_a_farm_on_sqlite_makes_its_key_and_another_key_is_refused(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "home")
    store = Store(settings.store_url)
    signer = find_signer(settings, store)
    assert signer is not None
    assert store.signing_keys() == [signer.key]
    add_worker(store)
    other = ensure_signer(tmp_path / "other.key")
    with pytest.raises(InvalidSetting, match=f"{signer.key}.*other.key has another, {other.key}"):
        find_signer(Settings.load(signing_key=str(tmp_path / "other.key")), store)
    with pytest.raises(InvalidSetting, match="cannot be read"):
        find_signer(Settings.load(signing_key=str(tmp_path / "none.key")), store)
    off = Settings.load(embed_metadata=False, signing_key=str(tmp_path / "other.key"))
    assert make_prover(off, store, "w2", lambda _: {}) is None
    store.close()
