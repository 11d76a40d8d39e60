"""A file says how it was made, and one changed byte or parameter of it is found."""

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genfarm_shared import provenance
from genfarm_shared.carriers import CARRIERS, part
from genfarm_shared.errors import InvalidSetting
from genfarm_shared.signing import ensure_signer, is_open, read_signer
from genfarm_shared.store import Store
from genfarm_workers.encoding import encode
from genfarm_workers.engines import Clip, Media, Picture, Sound
from tests.shared.farmyard import add_worker

FACTS = {"model": "digits", "params": {"prompt": "a hand­written “7”", "seed": 5}}
MEDIA: dict[str, Media] = {
    "png": Picture(4, 2, bytes(range(24))),
    "wav": Sound(8000, 1, bytes(range(32))),
    "gif": Clip(2, 2, 8, bytes(range(24))),
}


@pytest.fixture(scope="module", params=MEDIA)
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Public key and, in hexadecimal, the file with its note and the file without."""
    signer = ensure_signer(tmp_path_factory.mktemp("key") / "signing.key")
    bare, media_type = encode(MEDIA[request.param])
    data = provenance.embed(bare, media_type, FACTS, signer)
    return [signer.key, data.hex(), bare.hex()]


def test_a_signed_file_is_proved_and_says_how_it_was_made(signed: list[str]) -> None:
    key, data, bare = signed[0], bytes.fromhex(signed[1]), bytes.fromhex(signed[2])
    proof = provenance.prove_file(data, [key])
    assert proof.ok, proof.said
    assert proof.facts["params"] == FACTS["params"]
    assert provenance.strip(data) == bare


@given(draw=st.data())
def test_every_single_changed_byte_is_found(signed: list[str], draw: st.DataObject) -> None:
    key, data = signed[0], bytearray.fromhex(signed[1])
    place = draw.draw(st.integers(0, len(data) - 1))
    data[place] ^= draw.draw(st.integers(1, 255))
    assert not provenance.prove_file(bytes(data), [key]).ok


@given(draw=st.data())
def test_a_byte_more_or_less_is_found(signed: list[str], draw: st.DataObject) -> None:
    key, data = signed[0], bytes.fromhex(signed[1])
    place = draw.draw(st.integers(0, len(data)))
    more = data[:place] + draw.draw(st.binary(min_size=1, max_size=4)) + data[place:]
    less = data[:place] + data[place + 1 :]
    assert not provenance.prove_file(more, [key]).ok
    assert less == data or not provenance.prove_file(less, [key]).ok


DEEP = '{"a":' * 100_000
HEADS = [b"RIFF\x04\0\0\0WAVE", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\x0c\0\0\0WAVELIST"]


@pytest.mark.parametrize("head", HEADS)
@given(rest=st.binary(max_size=40))
def test_no_crafted_file_ends_in_an_error(head: bytes, rest: bytes) -> None:
    for data in (head, head + rest):
        assert not provenance.prove_file(data, []).ok


@pytest.mark.parametrize("line", [DEEP, DEEP[:2500] + "1" + "}" * 500, "[]", "9" * 5000])
def test_a_note_that_nobody_can_read_says_nothing(line: str) -> None:
    bare = encode(MEDIA["png"])[0]
    proof = provenance.prove_file(CARRIERS["image/png"].insert(bare, f"{line}\n".encode()), [])
    assert (proof.ok, proof.facts) == (False, {})
    assert "no JSON of ours" in proof.said


def test_a_changed_parameter_is_found_however_well_it_is_put_in(signed: list[str]) -> None:
    """With every length and checksum of the container made right again."""
    found = part(bytes.fromhex(signed[1]))
    assert found is not None
    line, _, signature = found.note.decode().partition("\n")
    facts = json.loads(line)
    facts["params"]["seed"] = 6
    note = f"{provenance.canonical(facts)}\n{signature}".encode()
    forged = next(c for c in CARRIERS.values() if c.can_carry(found.bare)).insert(found.bare, note)
    proof = provenance.prove_file(forged, [signed[0]])
    assert not proof.ok
    assert "parameters or its signature were changed" in proof.said


def test_pixels_changed_with_their_checksums_are_found(tmp_path: Path) -> None:
    signer = ensure_signer(tmp_path / "signing.key")
    bare, other = (encode(Picture(1, 1, bytes([shade] * 3)))[0] for shade in (1, 2))
    found = part(provenance.embed(bare, "image/png", FACTS, signer))
    assert found is not None
    assert zlib.crc32(other) != zlib.crc32(bare)
    proof = provenance.prove_file(CARRIERS["image/png"].insert(other, found.note), [signer.key])
    assert not proof.ok
    assert "content was changed" in proof.said


def test_a_foreign_key_no_key_and_no_note_prove_nothing(tmp_path: Path) -> None:
    ours, theirs = (ensure_signer(tmp_path / name) for name in ("ours.key", "theirs.key"))
    bare, media_type = encode(MEDIA["png"])
    foreign = provenance.embed(bare, media_type, FACTS, theirs)
    unsigned = provenance.embed(bare, media_type, FACTS, None)
    said = [provenance.prove_file(d, [ours.key]).said for d in (foreign, unsigned, bare)]
    assert "not a key of this farm" in said[0]
    assert "not signed" in said[1]
    assert "carries no note" in said[2]
    assert not any(provenance.prove_file(d, [ours.key]).ok for d in (foreign, unsigned, bare))


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "signing.key"
    assert ensure_signer(path).key == ensure_signer(path).key == read_signer(path).key
    assert not is_open(path)
    assert [found.name for found in path.parent.iterdir()] == ["signing.key"]
    path.write_text("no key")
    with pytest.raises(InvalidSetting, match=r"signing\.key cannot be read.*openssl"):
        read_signer(path)


def test_a_farm_changes_its_key_only_while_nobody_works(store: Store) -> None:
    assert store.signing_keys() == []
    assert store.adopt_key("aa")
    assert store.adopt_key("bb")
    add_worker(store)
    assert store.adopt_key("bb")
    assert not store.adopt_key("aa")
    store.retire("w1", "stopped")
    assert store.adopt_key("aa")
    assert store.signing_keys() == ["bb", "aa"]
