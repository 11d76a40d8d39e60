"""What watching costs and whom it may harm: who is asked, what is read, what is thrown away."""

import io
import socket
import struct
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
import redis
from PIL import Image

from genfarm.live import _picture
from genfarm.redis_server import free_port
from genfarm_shared.live import (
    LOBBY,
    MESSAGE_MOST,
    MOST_WATCHED,
    TEXT_MOST,
    Live,
    Sight,
    channel_of,
    read_sight,
    write_sight,
)
from genfarm_shared.tasks import Claim
from genfarm_workers.engines import Glimpse, Picture
from genfarm_workers.engines.resident import Resident
from genfarm_workers.lookout import Lookout
from genfarm_workers.pipe import Pipe
from genfarm_workers.showing import Gaze, Seen, Showing, sight_of
from tests.engines.fakes import FakeEngine
from tests.waiting import until

SIGHT = Sight("job-0", 1, 3, 8, "Once ü", b"jpeg\n\n\x00")


@pytest.fixture
def live(broker_url: str) -> Iterator[Live]:
    live = Live(broker_url)
    yield live
    live.close()


def test_while_nobody_watches_a_worker_asks_one_question(live: Live, broker_url: str) -> None:
    """However many tasks are in its hands."""
    with redis.Redis.from_url(broker_url) as client:
        client.config_resetstat()
        assert live.watched([]) == live.watched([f"job-{i}" for i in range(5000)]) == []
        asked = client.info("commandstats")["cmdstat_pubsub|numsub"]
    assert asked["calls"] == 1


def test_a_worker_finds_the_watched_among_its_own_and_no_more_than_it_may(live: Live) -> None:
    ears = [live.listen(f"job-{i}") for i in range(0, 2 * MOST_WATCHED, 2)]
    ears += [live.listen(name) for name in ("", "job-1 ", "*", "job-1\n\x00", "x" * 100_000)]
    assert live.watched([f"job-{i}" for i in range(10)]) == [f"job-{i}" for i in range(0, 10, 2)]
    extra = [live.listen(f"job-{i}") for i in range(1, 21, 2)]
    assert len(live.watched([f"job-{i}" for i in range(5000)])) == MOST_WATCHED
    for ear in ears + extra:
        ear.close()
    until(lambda: not live.watched(["job-2"]))


def test_noise_on_a_channel_is_not_heard(live: Live, broker_url: str) -> None:
    ear = live.listen("job-0")
    with redis.Redis.from_url(broker_url) as client:
        for noise in (b"", b"[" * 100_000, b'{"done": 1}', b"\xff\x00", b"x" * (MESSAGE_MOST + 1)):
            client.publish(channel_of("job-0"), noise)
            client.publish(LOBBY, noise)
        live.show([SIGHT])
    heard: list[Sight | None] = []
    while not heard or heard[-1] is None:
        heard.append(ear.hear(1.0))
    assert heard[-1] == SIGHT
    assert not any(heard[:-1])
    ear.close()


@pytest.mark.parametrize(
    "head",
    [
        "7",
        "null",
        '{"attempt": 1, "done": 1, "total": 2}',
        '{"attempt": 1, "done": -1, "total": 2, "text": ""}',
        '{"attempt": true, "done": 1, "total": 2, "text": ""}',
        '{"attempt": 1, "done": 1e99, "total": 2, "text": ""}',
        '{"attempt": 1, "done": 1, "total": 2, "text": ["a"]}',
        '{"attempt": 1, "done": 1, "total": 2, "text": "half a \\ud83d"}',
    ],
)
def test_what_no_worker_writes_is_no_sight(head: str) -> None:
    assert read_sight("job-0", head.encode()) is None


def test_a_sight_survives_its_way_and_a_long_text_begins_it() -> None:
    assert read_sight("job-0", write_sight(SIGHT)) == SIGHT
    long = read_sight("job-0", write_sight(Sight("job-0", 1, 3, 8, "\x01" * 2 * TEXT_MOST)))
    assert long is not None
    assert long.text == "\x01" * TEXT_MOST


STOPS = {"stop": ["end", ". \n"]}


class Party:
    """An engine's lookout with a clock of its own, and the worker's end of the pipe."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.pipe, self._theirs = Pipe(Connection(ours.detach())), Pipe(Connection(theirs.detach()))
        self.now = 0.0
        self.engine = FakeEngine()
        self.resident = Resident(self.engine, lambda: self.now)
        self.lookout = Lookout(self._theirs, lambda: self.now)
        for number in range(3):
            claim = Claim(f"t{number}", "job", 1, "drill", "drill", "key", 1, STOPS, 0)
            self.engine.held[claim.task_id] = claim
            self.resident.enqueue(claim)
        self.resident._admit()

    def look(self, at: float) -> list[str]:
        """Ids of the tasks that are told of at that second."""
        self.now = at
        self.lookout.show([self.resident])
        message = self.pipe.receive(0.0)
        glimpses = message["glimpses"] if message else []
        self.texts = [glimpse.text for glimpse in glimpses]
        return [glimpse.task_id for glimpse in glimpses]

    def close(self) -> None:
        self.pipe.close()
        self._theirs.close()


@pytest.fixture
def party() -> Iterator[Party]:
    party = Party()
    yield party
    party.close()


def test_an_engine_is_asked_only_of_the_watched_and_only_for_news(party: Party) -> None:
    assert party.lookout.wakes_at() is None
    assert party.look(at=1.0) == []
    party.lookout.aim(["t1", "t2", "unknown"])
    assert party.look(at=1.0) == ["t1", "t2"]
    assert party.lookout.wakes_at() == pytest.approx(1.1)
    assert party.look(at=1.2) == []
    party.engine.told = 1
    assert party.look(at=1.25) == []
    assert party.look(at=1.4) == ["t1", "t2"]


def test_looking_takes_a_tenth_of_an_engines_time_at_most(party: Party) -> None:
    """A look that takes long is cut, the others' turn comes first in the next, and that waits."""
    party.engine.on_glimpse = lambda: setattr(party, "now", party.now + 0.5)
    party.lookout.aim(["t0", "t1", "t2"])
    assert party.look(at=1.0) == ["t0"]
    assert party.lookout.wakes_at() == pytest.approx(1.5 + 9 * 0.5)
    assert party.look(at=6.1) == ["t1"]


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("The en", "The "),
        ("The e", "The "),
        ("The ends", "The ends"),
        ("The. ", "The"),
        ("The.", "The"),
    ],
)
def test_what_a_stop_string_may_cut_off_is_not_told(party: Party, says: str, told: str) -> None:
    """Else more would be streamed than the result has."""
    party.engine.says = says
    party.lookout.aim(["t0"])
    assert party.look(at=1.0) == ["t0"]
    assert party.texts == [told]


def test_a_glimpse_that_raises_costs_its_task_nothing(party: Party) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA out of memory")

    party.engine.on_glimpse = fail
    party.lookout.aim(["t0"])
    assert party.look(at=1.0) == []
    assert [output.task_id for output in party.resident.advance()] == ["t0", "t1", "t2"]


def test_a_new_engine_is_told_anew_who_is_watched() -> None:
    gaze = Gaze()
    assert gaze.news(1) is None
    assert gaze.aim(["t"])
    assert gaze.news(1) == ["t"]
    assert gaze.news(1) is None
    assert gaze.news(2) == ["t"]
    assert gaze.aim([])
    assert gaze.news(2) == []


def test_a_glimpse_goes_through_the_pipe_with_its_picture(party: Party) -> None:
    glimpses = [
        Glimpse("a", 1, 2, "text ü"),
        Glimpse("b", 0, 8, picture=Picture(2, 1, b"\x00\x01\x02\xff\x00\x01")),
    ]
    party.pipe.send_glimpses(glimpses)
    assert party._theirs.receive(1.0) == {"op": "glimpses", "glimpses": glimpses, "blobs": 1}


def test_a_picture_that_is_none_is_not_shown() -> None:
    for picture in (Picture(2, 2, b"short"), Picture(0, 0, b""), Picture(-1, 4, b"x" * 12)):
        assert sight_of(Seen(1, Glimpse("t", 1, 2, picture=picture))) is None


def test_a_worker_stops_telling_while_redis_is_away() -> None:
    aimed: list[list[str]] = []
    showing = Showing(
        Live(f"redis://127.0.0.1:{free_port()}/0"),
        lambda: ["t"],
        lambda ids: aimed.append(list(ids)),
    )
    showing.put([Seen(1, Glimpse("t", 1, 2))])
    showing.start()
    until(lambda: aimed == [[]])
    showing.stop()
    showing.join(10)
    assert not showing.is_alive()


@pytest.mark.parametrize("side", [2000, 65_500])
def test_a_forged_preview_is_no_picture(side: int) -> None:
    """A small file that says it is a huge picture, of which Pillow takes the hugest for a bomb."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    honest, size = buffer.getvalue(), struct.pack(">HH", 8, 8)
    forged = honest.replace(b"\x08" + size, b"\x08" + struct.pack(">HH", side, side), 1)
    assert _picture(honest)
    assert forged != honest
    assert _picture(forged) is None
