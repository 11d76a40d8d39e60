"""A prompt is in its row and in its result, and nowhere else."""

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from genfarm_shared.queue import PREFIX
from genfarm_shared.schema import metadata
from genfarm_shared.tasks import State
from tests.waiting import until
from tests.yard import Yard

MARK = "Zebrafinkenlied"
#: Where a prompt belongs.
KEPT = {"params", "output", "artifacts"}

#: The starter models under the keys that the yard gives their kinds.
SERVED = """
[models.text-generation]
kind = "text-generation"
engine = "text"
source = "zoo:stories"
slots = 4
[models.text-to-image]
kind = "text-to-image"
engine = "image"
source = "zoo:digits"
slots = 2
limits = {steps = 2, guidance_scale = 3.0, size = [32, 32]}
"""


class Ear:
    """Everything that is said on Redis's channels, from its making on."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._heard: Any = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._heard.psubscribe(f"{PREFIX}*")
        until(lambda: self._heard.get_message(timeout=1.0))
        self.said = ""

    def ended(self) -> int:
        """How many tasks were said to have ended until now."""
        while (message := self._heard.get_message(timeout=0.1)) is not None:
            envelope = json.loads(message["data"])
            body = json.loads(base64.b64decode(envelope.pop("body")))
            self.said += f"{message['channel']} {json.dumps(envelope)} {json.dumps(body)}\n"
        return sum(self.said.count(f'"type": "task-{end}"') for end in ("succeeded", "failed"))

    def close(self) -> None:
        self._heard.close()
        self._client.close()


@pytest.fixture
def ear(broker_url: str) -> Iterator[Ear]:
    found = Ear(broker_url)
    yield found
    found.close()


def books(yard: Yard) -> str:
    """Every column of every table but those that are for prompts and results."""
    said = []
    for table in metadata.sorted_tables:
        columns = [column for column in table.columns if column.name not in KEPT]
        query = table.select().with_only_columns(*columns)
        rows = yard.store.read(lambda c, query=query: list(c.execute(query)))  # type: ignore[misc]
        said += [f"{table.name} {row}" for row in rows]
    return "\n".join(said)


def spoil(yard: Yard, job: str, index: int, **params: Any) -> None:
    """A row that was written past the client's checks."""
    tasks = metadata.tables["tasks"]
    there = (tasks.c.job_id == job) & (tasks.c.index == index)
    yard.store.write(lambda c: c.execute(tasks.update().where(there).values(params=params)))


def unheard(yard: Yard, ear: Ear, logs: Path, jobs: Sequence[str]) -> None:
    until(lambda: all(yard.finished(job) for job in jobs), patience=90)
    total = sum(sum(yard.states(job).values()) for job in jobs)
    until(lambda: ear.ended() >= total)
    log = (logs / "worker0.log").read_text()
    assert "DEBUG" in log
    for place, said in {"log": log, "events": ear.said, "books": books(yard)}.items():
        assert jobs[0] in said or place == "log"
        assert MARK not in said, f"{place}: {[s for s in said.splitlines() if MARK in s][:3]}"
    with redis.Redis.from_url(yard.settings.broker) as client:
        for key in client.scan_iter():
            assert MARK.encode() not in (client.dump(key) or b"")


def test_a_drills_text_is_in_no_log_event_or_reason(yard: Yard, ear: Ear, tmp_path: Path) -> None:
    faults = ("none", "raise", "bad-output", "oom")
    inputs = [
        {"text": f"{MARK} {fault} \n'\"", "fault": fault, "faulty_attempts": 9} for fault in faults
    ]
    job = yard.submit("drill", *inputs, {"text": MARK, "picture": True}, {"text": MARK})
    spoil(yard, job, 5, text=f"{MARK}\x01" * 50_000, seconds=-1, fault=MARK)
    yard.start_worker("drill", log_level="DEBUG", max_attempts=2)
    unheard(yard, ear, tmp_path, [job])
    assert yard.states(job)[State.SUCCEEDED] == 2, yard.states(job)
    assert "seconds" in books(yard)  # the reason names the parameter at fault


@pytest.mark.torture
@pytest.mark.timeout(240)
def test_prompts_of_texts_and_pictures_are_in_no_log_event_or_reason(
    yard: Yard, ear: Ear, tmp_path: Path
) -> None:
    with (tmp_path / "models.toml").open("a") as registry:
        registry.write(SERVED)
    text = {"prompt": f"{MARK} once", "stop": [f"{MARK} twice"], "max_new_tokens": 8}
    texts = yard.submit("text-generation", text, text | {"max_new_tokens": 4096}, text)
    spoil(yard, texts, 2, prompt=f"{MARK} {'x' * 99_000}")
    picture = {"prompt": f"{MARK} seven", "negative_prompt": MARK}
    pictures = yard.submit("text-to-image", picture, picture | {"steps": 1}, picture)
    spoil(yard, pictures, 2, prompt={MARK: MARK}, steps=MARK)
    yard.start_worker("text-generation,text-to-image", log_level="DEBUG")
    unheard(yard, ear, tmp_path, [texts, pictures])
    assert yard.states(texts)[State.FAILED] == 2
