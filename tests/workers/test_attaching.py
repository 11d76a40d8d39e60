"""Files on their way into an engine: read by name, checked by content, sent as blobs."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.kinds import check_params, find_kind
from genfarm_shared.kinds.params import MAX_FILE
from genfarm_shared.tasks import Claim
from genfarm_workers.attaching import Attacher
from genfarm_workers.pipe import Pipe


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "files"))


@pytest.fixture
def attacher(store: ArtifactStore) -> Iterator[Attacher]:
    attacher = Attacher(store)
    yield attacher
    attacher.close()


def claim(task_id: str, kind: str, **values: object) -> Claim:
    params = check_params(find_kind(kind), values).model_dump()
    return Claim(task_id, "job", 1, kind, "model", "model", 1, params, 0)


def test_a_claim_gets_the_content_of_the_file_it_names(
    attacher: Attacher, store: ArtifactStore
) -> None:
    name = store.put(b"pixels", "image/png").name
    ready, unfit = attacher.attach([claim("a", "image-to-text", image=name)])
    assert [one.files for one in ready] == [{"image": b"pixels"}]
    assert unfit == []


def test_a_file_that_is_gone_fails_its_task_alone(attacher: Attacher, store: ArtifactStore) -> None:
    name = store.put(b"pixels", "image/png").name
    lost = f"ab/{'ab' * 32}.png"
    claims = [claim(n, "image-to-text", image=i) for n, i in (("lost", lost), ("there", name))]
    ready, unfit = attacher.attach(claims)
    assert [one.task_id for one in ready] == ["there"]
    (ended,) = unfit
    assert ended.output.failure is not None
    assert (ended.claim.task_id, ended.output.failure.code) == ("lost", "missing_file")
    assert lost in ended.output.failure.message


def test_a_file_that_cannot_be_read_fails_its_task_alone(
    attacher: Attacher, store: ArtifactStore
) -> None:
    name = store.put(b"pixels", "image/png").name
    Path(store.path(name)).unlink()
    Path(store.path(name)).mkdir()
    ready, unfit = attacher.attach([claim("a", "image-to-text", image=name)])
    assert ready == []
    assert unfit[0].output.failure is not None
    assert unfit[0].output.failure.code == "missing_file"
    assert "cannot be read" in unfit[0].output.failure.message
    assert list(Path(store.path("tmp")).iterdir()) == []


def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    store = ArtifactStore(str(folder))
    name = store.put(b"pixels", "image/png").name
    folder.rename(tmp_path / "aside")
    folder.write_bytes(b"no folder")  # as root, no mode of a folder keeps anybody out
    attacher = Attacher(store)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(attacher.attach, [claim("a", "image-to-text", image=name)])
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        folder.unlink()
        (tmp_path / "aside").rename(folder)
        ready, _ = waiting.result(10)
    attacher.close()
    assert ready[0].files == {"image": b"pixels"}


def test_a_file_that_was_changed_is_not_run(attacher: Attacher, store: ArtifactStore) -> None:
    name = store.put(b"pixels", "image/png").name
    Path(store.path(name)).write_bytes(b"others")
    ready, unfit = attacher.attach([claim("a", "image-to-text", image=name)])
    assert ready == []
    assert "not what it was" in str(unfit[0].output.failure)


def test_a_file_that_is_too_large_is_not_read(attacher: Attacher, store: ArtifactStore) -> None:
    name = store.put(b"pixels", "image/png").name
    with Path(store.path(name)).open("wb") as file:
        file.truncate(MAX_FILE + 1)
    ready, unfit = attacher.attach([claim("a", "image-to-text", image=name)])
    assert ready == []
    failure = unfit[0].output.failure
    assert failure is not None
    assert failure.code == "invalid_params"
    assert f"image: the file {name} has {MAX_FILE + 1} bytes; at most {MAX_FILE}" in failure.message


def test_an_embedding_of_a_text_names_no_file(attacher: Attacher) -> None:
    one = claim("a", "feature-extraction", text="x")
    assert attacher.attach([one]) == ([one], [])


def test_files_cross_the_pipe_beside_claims_that_have_none() -> None:
    near, far = multiprocessing.Pipe()
    claims = [claim("a", "sleep"), claim("b", "sleep"), claim("c", "sleep")]
    claims[1].files.update(image=b"\x00\xff" * 1000, mask=b"")
    Pipe(near).send_claims(claims)
    message = Pipe(far).receive(1.0)
    assert message is not None
    assert message["claims"] == claims
    near.close()
    far.close()
