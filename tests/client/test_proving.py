"""A manifest beside a file speaks for it, where the file itself says nothing."""

import hashlib
import json
from pathlib import Path

import pytest

from genfarm.doctor import OK, WARN, examine
from genfarm.proving import MANIFESTS, prove, read_key
from genfarm_shared.errors import NotFound
from genfarm_shared.provenance import Made, sign_manifest, whole_manifest
from genfarm_shared.settings import Settings
from genfarm_shared.signing import ensure_signer


def test_a_file_of_any_kind_is_proved_by_the_manifest_that_was_saved_beside_it(
    tmp_path: Path,
) -> None:
    signer = ensure_signer(tmp_path / "signing.key")
    path = tmp_path / "images" / "000000.flac"
    path.parent.mkdir()
    path.write_bytes(b"sound")
    params = {"prompt": "rain", "seed": 3}
    files = [hashlib.sha256(b"sound").hexdigest()]
    made = Made("job-0", 1, "text-to-audio", "tts", params, 3, {}, files, "w1", 4)
    manifest = whole_manifest(made, sign_manifest(made, {"slots": 8}, signer))
    lines = tmp_path / MANIFESTS
    lines.write_text(json.dumps({**manifest, "params": params}))
    proof = prove(None, path, [signer.key])
    assert proof.ok, proof.said
    assert proof.facts["params"] == params
    lines.write_text(json.dumps({**manifest, "params": params | {"seed": 4}}))
    assert "parameters were changed" in prove(None, path, [signer.key]).said
    path.write_bytes(b"other sound")
    assert not prove(None, path, [signer.key]).ok


@pytest.mark.parametrize(
    "line", [b'{"artifacts": null}', b'{"artifacts": 7}', b'{"a":' * 100_000, b"\xff", b"[1]"]
)
def test_a_line_beside_a_file_that_nobody_can_read_is_passed_over(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "sound.flac"
    path.write_bytes(b"sound")
    (tmp_path / MANIFESTS).write_bytes(line)
    assert "carries no note" in prove(None, path, []).said


def test_a_key_is_read_from_its_digits_and_from_files(tmp_path: Path) -> None:
    signer = ensure_signer(tmp_path / "signing.key")
    (tmp_path / "public").write_text(f"{signer.key}\n")
    found = {read_key(str(k)) for k in (signer.key, tmp_path / "public", tmp_path / "signing.key")}
    assert found == {signer.key}


def test_the_doctor_says_the_key_and_warns_of_one_that_others_may_read(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path)
    signer = ensure_signer(settings.signing_path)
    (finding,) = [found for found in examine(settings) if found.what == "signing"]
    assert (finding.level, signer.key in finding.found) == (OK, True)
    settings.signing_path.chmod(0o644)
    (finding,) = [found for found in examine(settings) if found.what == "signing"]
    assert (finding.level, finding.fix) == (WARN, f"chmod 600 {settings.signing_path}")


def test_what_is_neither_file_nor_task_is_named() -> None:
    with pytest.raises(NotFound, match=r"'no-such-file.png' is no file here.*JOB-INDEX"):
        prove(None, "no-such-file.png", [])
