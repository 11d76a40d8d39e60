"""The arms of benchmarks: the same work each, and a plain word when one cannot."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from genfarm.benchmark.farm_arms import digest, same_bytes
from genfarm.benchmark.frame import Peer, PeerFailed, peer, redis_in
from genfarm.benchmark.httpload import await_server, post_all
from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.provenance import embed
from genfarm_shared.queue import Broker
from genfarm_shared.tasks import State, TaskRecord
from genfarm_workers.benchmark.bare import digest as digest_of_output
from genfarm_workers.benchmark.bare import drive, make_claim
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.encoding import encode_png
from genfarm_workers.engines import Output, Picture
from genfarm_workers.engines.registry import build

BUSY = ModelEntry(key="busy", kind="drill", engine="busy", slots=3)
TASKS = [{"text": f"{n}", "seconds": 0.001, "seed": n} for n in range(8)]


def test_the_bare_loop_runs_every_task_and_counts_its_rows() -> None:
    engine = build(BUSY, "cpu")
    engine.load()
    outputs = drive(engine, [make_claim(BUSY, place, task) for place, task in enumerate(TASKS)])
    answers = {(output.output or {})["answer"] for output in outputs.values()}
    assert len(answers) == len(TASKS)
    assert (engine.work.calls, engine.work.computed, engine.work.useful) == (8, 8, 8)
    assert engine.wakes_at(0.0) is None


def test_an_engine_that_waits_by_its_nature_is_waited_for() -> None:
    entry = ModelEntry(key="sleep", kind="sleep", engine="sleep", slots=4)
    claims = [make_claim(entry, n, {"seconds": 0.02}) for n in range(8)]
    outputs = drive(build(entry, "cpu"), claims)
    assert {output.output["slept_seconds"] for output in outputs.values() if output.output} == {
        0.02
    }


def test_a_dropped_task_does_not_come_back_from_the_busy_engine() -> None:
    engine = build(BUSY, "cpu")
    engine.admit([make_claim(BUSY, place, task) for place, task in enumerate(TASKS[:3])])
    engine.drop(["bare-1"])
    ended = [output.task_id for _ in range(3) for output in engine.step(0.0)]
    assert ended == ["bare-0", "bare-2"]


def test_equal_results_have_equal_digests_in_the_loop_and_in_the_store(tmp_path: Path) -> None:
    """The farm's files say how they were made, and the loop's do not."""
    said = {"text": "ein Bär", "n": [1, 2]}
    picture, files = Picture(1, 1, bytes(3)), ArtifactStore(str(tmp_path))
    kept = files.put(embed(encode_png(picture), "image/png", {"model": "m"}, None), "image/png")
    row = TaskRecord("t", "j", 0, "0", "drill", "m", {}, 0, State.SUCCEEDED, 1, 0.0, output=said)
    row = replace(row, artifacts=[kept])
    same = digest_of_output(Output("t", {"n": [1, 2], "text": "ein Bär"}, [picture]))
    assert digest(row, files.read) == same
    assert same_bytes([row, row], [same, "other"], files.read) == 0.5


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    log = tmp_path_factory.mktemp("bare") / "log"
    with peer("genfarm_workers.benchmark.bare", log=log) as found:
        yield found


def test_a_peer_answers_alone_and_together_alike(bare: Peer) -> None:
    entry = BUSY.model_dump(mode="json")
    together = bare.ask("run", model=entry, tasks=TASKS)
    alone = bare.ask("run", model=entry, tasks=TASKS, alone=True)
    assert together["digests"] == alone["digests"]
    assert together["seconds"] >= 0.008
    assert together["work"] == {"calls": 8, "computed": 8, "useful": 8, "shortages": 0}


def test_a_peer_that_cannot_says_why_and_goes_on(bare: Peer) -> None:
    with pytest.raises(PeerFailed, match=r"bare failed: ModelUnavailable: .*no engine 'warp'"):
        bare.ask("run", model={"key": "x", "kind": "drill", "engine": "warp"}, tasks=[])
    assert bare.ask("run", model=BUSY.model_dump(mode="json"), tasks=TASKS[:1])["digests"]


def test_a_peer_that_dies_leaves_its_last_words(tmp_path: Path) -> None:
    with (
        peer("genfarm_workers.benchmark.absent", log=tmp_path / "log") as absent,
        pytest.raises(PeerFailed, match=r"absent died: .*No module named"),
    ):
        absent.ask("run")


def test_a_benchmarks_redis_answers_and_ends_with_the_block(tmp_path: Path) -> None:
    with redis_in(tmp_path) as url:
        broker = Broker(url)
        await_port(url)
        broker.ping()
        broker.close()


def await_port(url: str) -> None:
    with pytest.raises(PeerFailed, match="nothing answers"):  # it speaks no HTTP
        await_server(int(url.rpartition(":")[2].partition("/")[0]), "/health", 0.3)


class Echo(BaseHTTPRequestHandler):
    """Refuses the task that says so."""

    protocol_version = "HTTP/1.1"
    taken: list[bytes] = []  # noqa: RUF012  # one server a test

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(body)
        self.send_response(500 if b"refuse" in body else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Echo.taken.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(10)


def test_every_task_is_posted_once(port: int) -> None:
    assert post_all(port, "/predict", [{"n": n} for n in range(50)], 8) > 0
    assert len(set(Echo.taken)) == len(Echo.taken) == 50


def test_a_refused_request_is_a_failed_peer(port: int) -> None:
    with pytest.raises(PeerFailed, match="500"):
        post_all(port, "/predict", [{"n": 1}, {"n": "refuse"}], 1)
