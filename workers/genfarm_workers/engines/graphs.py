"""Captured runs of steps on a CUDA device; on any other, the steps themselves.

A decode step of a small model is hundreds of launches that take the host
longer than the device: replaying a graph is one. What is captured reads and
writes tensors that stay where they are; whoever moves one says `forget`.
Knows no model and no row.
"""

import logging
from collections.abc import Callable, Hashable
from typing import Any

import torch

from genfarm_workers.engines.memory import is_out_of_memory

logger = logging.getLogger(__name__)


class Graphs:
    """One graph per key. What a key runs first is run plainly: libraries allocate and tune then."""

    def __init__(self, device: str) -> None:
        self._is_on = device.startswith("cuda")
        #: None where a key has been run once and is not captured yet.
        self._captured: dict[Hashable, tuple[torch.cuda.CUDAGraph, torch.Tensor] | None] = {}
        self._pool: Any = None
        self._aside: Any = None

    def run(self, key: Hashable, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What `work` returns, in a tensor that the next run may overwrite."""
        if not self._is_on:
            return work()
        if key not in self._captured:
            self._captured[key] = None
            return self._run_aside(work)
        found = self._captured[key] or self._capture(key, work)
        if found is None:
            return work()
        graph, result = found
        graph.replay()
        return result

    def forget(self) -> None:
        """Drop every graph: a tensor that they use has moved."""
        self._captured.clear()

    def _capture(
        self, key: Hashable, work: Callable[[], torch.Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, torch.Tensor] | None:
        """Record what `work` launches; it does not run yet. None for a model that cannot.

        Raises where memory runs out: with fewer rows it may be enough.
        """
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                result = work()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._is_on = False
            logger.warning("decode steps are launched one by one, not captured: %s", error)
            return None
        self._captured[key] = (graph, result)
        return graph, result

    def _run_aside(self, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """On a stream of its own, as torch asks for before a capture. One for all keys: what a
        stream has freed is kept for that stream alone."""
        main = torch.cuda.current_stream()
        self._aside = self._aside or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._aside.wait_stream(main)
        with torch.cuda.stream(self._aside):
            result = work()
        main.wait_stream(self._aside)
        return result
