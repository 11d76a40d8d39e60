"""The engine that encodes pictures: to the means of a VAE's latents, as embeddings.

What it answers, `unconditional-image-generation` takes as `latents` and draws again.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from genfarm_shared.errors import ModelUnavailable
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.engines import Output
from genfarm_workers.engines.batch import BatchEngine, Row
from genfarm_workers.engines.drawing import fetch_generator
from genfarm_workers.engines.generators import Vae
from genfarm_workers.engines.opening import open_picture
from genfarm_workers.engines.sight import fit, turn_to_paper
from genfarm_workers.engines.weights import choose_dtype


class LatentsEngine(BatchEngine[list[float]]):
    """Each step encodes one batch of pictures."""

    def load(self) -> None:
        vae = fetch_generator(self.entry, self.device)
        if not isinstance(vae, Vae):
            raise ModelUnavailable(
                f"model {self.entry.key!r}: a {vae.design.type} cannot encode; expected a vae. "
                "Correct source in models.toml"
            )
        self._vae = vae
        self._dtype = choose_dtype(self.entry, self.device)
        #: Pictures of the tasks in hand, (C, S, S) from -1 to 1.
        self._seen: dict[str, torch.Tensor] = {}
        self.run(())  # the first call of a shape costs a device more than the others

    def modules(self) -> list[Any]:
        return [self._vae]

    def refusal(self, claim: Claim) -> Failure | None:
        if claim.params["image"] is None:
            return Failure(
                "invalid_params", f"{self.entry.key} encodes pictures; give image, not text"
            )
        if claim.params["pooling"] is not None:
            return Failure("invalid_params", "pooling is for texts; leave it away for a picture")
        design = self._vae.design
        picture = open_picture(claim, "image")
        if isinstance(picture, Failure):
            return picture
        pixels = fit(picture, design.size, design.channels)
        self._seen[claim.task_id] = turn_to_paper(pixels.float() / 127.5 - 1, design.paper)
        return None

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> Sequence[list[float]]:
        design = self._vae.design
        batch = torch.zeros(self.padded, design.channels, design.size, design.size)
        for place, row in enumerate(rows):
            batch[place] = self._seen[row.claim.task_id]
        means, _ = self._vae.encode(batch.to(self.device, self._dtype))
        found: list[list[float]] = means[: len(rows)].float().tolist()
        for row in rows:
            self._seen.pop(row.claim.task_id)
        return found

    def finish(self, claim: Claim, pieces: Sequence[list[float]]) -> Output:
        (embedding,) = pieces
        if claim.params["normalize"]:
            embedding = functional.normalize(torch.tensor(embedding), dim=0).tolist()
        return Output(claim.task_id, output={"embedding": embedding})

    def drop(self, task_ids: Sequence[str]) -> None:
        super().drop(task_ids)
        for task_id in task_ids:
            self._seen.pop(task_id, None)
