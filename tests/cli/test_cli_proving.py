"""`genfarm verify` and `genfarm replay` at a real worker that draws drills."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from genfarm import Best, Farm, Job, Stage
from genfarm.proving import _prove_task, known_keys
from genfarm_shared.carriers import CARRIERS, part
from genfarm_shared.provenance import canonical, embed
from genfarm_shared.signing import ensure_signer
from genfarm_workers.encoding import encode
from genfarm_workers.engines import Picture
from tests.yard import Yard

from .conftest import Genfarm


@pytest.fixture
def drawn(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """A job of two pictures that has ended, at the farm that the environment names."""
    for name in ("broker", "store_url", "artifacts_url"):
        variable = name.removesuffix("_url").upper()
        monkeypatch.setenv(f"GENFARM_{variable}", getattr(yard.settings, name))
    yard.start_worker("drill")
    inputs = [{"text": f"a seven, {n}", "picture": True, "seed": n} for n in (1, 2)]
    with Farm(progress=False) as farm:
        yield farm.submit_many("drill", inputs, model="drill").wait(60)


def test_the_best_of_its_rivals_is_proved_by_the_row_that_was_signed(
    genfarm: Genfarm, drawn: Job
) -> None:
    with Farm(progress=False) as farm:
        fan = Stage("drill", model="drill", text="a seven", picture=True, times=2)
        chain = farm.chain([fan, Best("params.seed")], ["x"]).wait(60)
        best = f"{chain.stage(1).id}-0"
        chosen = farm._link.store.read_tasks([best])[0]
        made = farm._link.store.read_tasks([chosen.metrics["chosen_task"]])[0]
        assert made.artifacts == chosen.artifacts
        said = genfarm("verify", best)
        assert (said.code, f"signed is {made.id}, and that is as it was" in said.out) == (0, True)
        said = genfarm("verify", best, "--trust", "0" * 64)
        assert (said.code, "not a key of this farm" in said.out) == (1, True)
        assert genfarm("replay", best).code == 0
        other = replace(chosen, output={"seed": 0})
        forged = _prove_task(other, farm._link, known_keys(farm._link, Path("none")))
        assert (forged.ok, f"not as {made.id} is" in forged.said) == (False, True)


def test_verify_says_who_signed_and_fails_for_one_changed_byte(
    genfarm: Genfarm, drawn: Job, tmp_path: Path
) -> None:
    folder = drawn.save(tmp_path / "saved") / "images"
    (key,) = genfarm("verify", "--key").out.split()
    said = genfarm("verify", folder / "000000.png", folder / "000001.png")
    assert said.code == 0
    assert said.out.count(f"is as it was signed by {key}") == 2
    assert "params.text" in said.out
    data = bytearray((folder / "000000.png").read_bytes())
    data[-20] ^= 1
    (folder / "000000.png").write_bytes(data)
    said = genfarm("verify", folder / "000000.png", folder / "000001.png", "--json")
    assert said.code == 1
    assert [proof["ok"] for proof in json.loads(said.out)] == [False, True]
    foreign = ensure_signer(tmp_path / "foreign.key").key
    assert genfarm("verify", folder / "000001.png", "--trust", foreign).code == 1


def test_a_manifest_speaks_for_a_row_and_for_a_file_that_carries_nothing(
    genfarm: Genfarm, drawn: Job, tmp_path: Path
) -> None:
    lines = drawn.save(tmp_path / "saved") / "manifest.jsonl"
    first, second = (json.loads(line) for line in lines.read_text().splitlines())
    assert genfarm("verify", first["task"], second["task"]).code == 0
    record = drawn._link.store.read_tasks([first["task"]])[0]
    assert len(canonical(record.metrics["manifest"])) < 600
    # Stands for a file of a kind that has no place for a note.
    path = tmp_path / "saved" / "images" / "000000.png"
    path.write_text("no picture")
    assert "carries no note" in genfarm("verify", path).out
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines.write_text(json.dumps(first | {"artifacts": [digest]}))
    assert "parameters or its signature were changed" in genfarm("verify", path).out


def test_replay_gives_the_same_bytes_and_says_what_was_otherwise(
    genfarm: Genfarm, drawn: Job, tmp_path: Path
) -> None:
    path = drawn.save(tmp_path / "saved") / "images/000001.png"
    assert genfarm("replay", f"{drawn.id}-1", "--out", tmp_path / "again").code == 0
    assert (tmp_path / "again/000.png").read_bytes() == path.read_bytes()
    assert genfarm("replay", path).code == 0
    found = part(path.read_bytes())
    assert found is not None
    facts = json.loads(found.note.partition(b"\n")[0])
    path.write_bytes(embed(found.bare, "image/png", facts | {"slots": 99}, None))
    said = genfarm("replay", path, "--json")
    assert said.code == 1
    told = json.loads(said.out)
    assert "content is the same" in told["said"]
    assert told["differs"]["slots"] == [99, 32]


def test_what_a_file_says_of_itself_forges_no_line(genfarm: Genfarm, tmp_path: Path) -> None:
    bare = encode(Picture(1, 1, bytes(3)))[0]
    said = "a\x1b[2J\r\nok   other.png: is as it was signed by abcd"
    path = tmp_path / "forged.png"
    path.write_bytes(embed(bare, "image/png", {"params": {"prompt": said}}, None))
    assert "abcd" not in genfarm("verify", path).out
    note = f'{{"key": {json.dumps(said)}}}\n'.encode()
    path.write_bytes(CARRIERS["image/png"].insert(bare, note))
    assert "abcd" not in genfarm("verify", path).out
    signer = ensure_signer(tmp_path / "signing.key")
    path.write_bytes(embed(bare, "image/png", {"params": {"prompt": said}}, signer))
    out = genfarm("verify", path, "--trust", signer.key).out
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out
    assert "a\\x1b[2J\\r\\nok" in out
