"""A worker of known answers: it claims and commits with the store's own verbs."""

import io
import threading
from collections.abc import Sequence
from typing import Any

from PIL import Image

from genfarm import Farm
from genfarm_shared.tasks import Artifact, Claim, Failure, Outcome, State, WorkerRecord

MODELS: Sequence[dict[str, Any]] = (
    {"key": "echo", "kind": "text-generation", "default": True, "description": "Echoes"},
    {"key": "shout", "kind": "text-generation", "default": False, "description": "Loud"},
    {"key": "blocks", "kind": "text-to-image", "default": True, "description": "Plain colours"},
    {"key": "floats", "kind": "batch-floats", "default": True, "description": "Doubles"},
    {"key": "reds", "kind": "image-classification", "default": True, "description": "Red modulo 4"},
)


class TinyWorker:
    """Fails a prompt that begins with `bad`; answers every other at once."""

    def __init__(self, farm: Farm) -> None:
        self.id = "tiny"
        #: How often each custom prompt was run, by task id.
        self.runs: dict[str, int] = {}
        #: What else every result is recorded with.
        self.metrics: dict[str, Any] = {}
        #: How many classifications are to fail.
        self.cannot_see = 0
        #: Whether its pictures are clips.
        self.moves = False
        self._store = farm._link.store
        self._files = farm._link.artifacts
        self._store.enlist(
            WorkerRecord(
                id=self.id,
                node="cpu0@test",
                host="test",
                pid=1,
                device="cpu",
                state="alive",
                models=MODELS,
                version="0",
                started_at=0.0,
                beat_at=0.0,
            )
        )

    def work(self, limit: int = 10_000) -> int:
        """Run what is queued or pending, at most `limit` tasks; returns how many."""
        self._store.dispatch(10_000)
        found = self._store.queued_before(-1.0)[:limit]
        claims = self._store.claim(found, self.id)
        for claim in claims:
            self.runs[claim.task_id] = self.runs.get(claim.task_id, 0) + 1
        outcomes = [self._answer(claim) for claim in claims]
        self._store.commit(outcomes, self.id, max_attempts=5)
        return len(claims)

    def run_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.work(50)
            stop.wait(0.005)

    def _answer(self, claim: Claim) -> Outcome:
        prompt = str(claim.params.get("prompt", ""))
        if prompt.startswith(("bad", "rude")):
            code = "content_filtered" if prompt.startswith("rude") else "invalid_params"
            failure = Failure(code, f"no answer to {prompt}")
            return Outcome(claim.task_id, claim.attempt, failure=failure)
        if claim.kind == "image-classification" and self.cannot_see:
            self.cannot_see -= 1
            failure = Failure("invalid_params", "too dark")
            return Outcome(claim.task_id, claim.attempt, failure=failure)
        output: dict[str, Any] = {}
        pictures: list[Artifact] = []
        if claim.kind == "text-generation":
            output = {"texts": [f"{prompt} {k}:{claim.seed}" for k in range(claim.rows)]}
        elif claim.kind == "text-to-image":
            pictures = [self._picture(claim.seed + k) for k in range(claim.rows)]
        elif claim.kind == "batch-floats":
            output = {"values": [2 * value for value in claim.params["values"]]}
        elif claim.kind == "image-classification":
            output = {"labels": [self._label(claim.params["image"])]}
        metrics = {"batch_size": 4, **self.metrics}
        return Outcome(claim.task_id, claim.attempt, output, pictures, metrics=metrics)

    def _label(self, name: str) -> dict[str, Any]:
        """How red a picture is modulo 4; the classifier is unsure of dark ones."""
        with Image.open(io.BytesIO(self._files.read(name))) as image:
            red = image.convert("RGB").tobytes()[0]
        return {"label": str(red % 4), "score": 0.9 if red >= 64 else 0.6}

    def _picture(self, seed: int) -> Artifact:
        stream = io.BytesIO()
        form = "GIF" if self.moves else "PNG"
        Image.new("RGB", (16, 8), (seed % 256, 0, 0)).save(stream, form)
        return self._files.put(stream.getvalue(), f"image/{form.lower()}")


def states(farm: Farm, job_id: str) -> dict[State, int]:
    """How many tasks of a job are in each state."""
    return farm._link.store.count([job_id])[job_id]
