"""The device's side of `genfarm bench gpu`: ceilings, models made in place, the engine in a loop.

`python -m genfarm_workers.benchmark.gpu` answers `about`, `ceilings`, `make`
and `run`. Knows no queue and no peer.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from genfarm_workers.benchmark.bare import Bare
from genfarm_workers.benchmark.ceilings import measure_ceilings
from genfarm_workers.benchmark.lines import answer_lines
from genfarm_workers.benchmark.shapes import make_image_model, make_text_model

#: Seconds between two looks at the GPU's utilisation; the driver renews it some six times a
#: second.
LOOK_EVERY = 0.05


class Watch(threading.Thread):
    """Asks the driver how busy the GPU is until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopped = threading.Event()
        self._seen: list[float] = []
        self._fault = ""

    def run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            try:
                self._seen.append(torch.cuda.utilization() / 100)
            except Exception as error:  # noqa: BLE001  # pynvml's own kinds, where it is there
                self._fault = str(error)
                return

    def stop(self) -> dict[str, Any]:
        """The mean share of time in which a kernel ran, or why there is none."""
        self._stopped.set()
        self.join()
        mean = sum(self._seen) / len(self._seen) if self._seen else None
        return {"utilisation": mean, "utilisation_fault": self._fault}


def main() -> None:
    """Answer until the end of stdin."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    bare = Bare(device)
    answers: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
        "about": lambda _request: _about(device),
        "ceilings": lambda _request: asdict(measure_ceilings(device)),
        "make": lambda request: _make(request, device),
        "run": lambda request: _run(bare, device, request),
    }
    answer_lines(answers)


def _about(device: str) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"device": device, "name": name, "torch": torch.__version__}


def _make(request: Mapping[str, Any], device: str) -> dict[str, float]:
    folder, tiny = Path(request["folder"]), bool(request["tiny"])
    if request["kind"] == "text-generation":
        return make_text_model(folder, tiny=tiny)
    found = make_image_model(folder, device, tiny=tiny)
    with suppress(RuntimeError):  # no GPU
        torch.cuda.empty_cache()
    return found


def _run(bare: Bare, device: str, request: Mapping[str, Any]) -> dict[str, Any]:
    if device == "cpu":
        return bare.run(request) | {"utilisation": None, "utilisation_fault": "there is no GPU"}
    watch = Watch()
    watch.start()
    try:
        found = bare.run(request)
    finally:
        seen = watch.stop()
    return found | seen


if __name__ == "__main__":
    main()
