"""The denoiser on a GPU: memory layout, compilation, and one CUDA graph per shape.

A denoiser call is some hundreds of small launches; a graph replays them as
one. Only for CUDA, where every batch has the same rows, so that few graphs
exist. Never used on a CPU.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.ensemble import Launch, Units, launch_plainly, leaves_of, rebuilt
from genfarm_workers.engines.memory import is_out_of_memory

logger = logging.getLogger(__name__)

#: Runs before a capture: lazy initialisation and autotuning must be over by then.
_WARM_RUNS = 3
#: Each holds the memory of its activations; the least recently used goes first.
_MOST_GRAPHS = 4


def choose_launch(module: torch.nn.Module, entry: ModelEntry) -> Launch:
    """How that model's denoiser is called: `graph` and `compile` in the entry's limits."""
    if not torch.cuda.is_available():
        return launch_plainly
    # Convolutions run on tensor cores without a change of layout in between.
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if entry.limits.get("compile", False):
        module.compile()
    return Graphs().launch if entry.limits.get("graph", True) else launch_plainly


@dataclass(frozen=True, slots=True)
class _Graph:
    graph: Any
    #: Buffers that its inputs are copied to.
    inputs: Sequence[Any]
    #: Buffers that each replay writes to.
    output: Any


class Graphs:
    """Graphs of one module by the shapes of its arguments."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[object, _Graph] = OrderedDict()
        self._is_on = True
        self._stream: Any = None

    def launch(self, function: Callable[..., Any], args: Any, kwargs: Any, units: Units) -> Any:
        leaves = leaves_of((args, kwargs))
        found = self._find(function, args, kwargs, leaves)
        if found is None:
            return function(*args, **kwargs)
        for buffer, leaf in zip(found.inputs, leaves, strict=True):
            if isinstance(buffer, torch.Tensor):
                buffer.copy_(leaf)
        found.graph.replay()
        return _copied(found.output)

    def _find(
        self, function: Callable[..., Any], args: Any, kwargs: Any, leaves: Sequence[Any]
    ) -> _Graph | None:
        """The graph of such a call, captured if there is none; None where there can be none."""
        key = tuple(
            (leaf.shape, leaf.dtype) if isinstance(leaf, torch.Tensor) else repr(leaf)
            for leaf in leaves
        )
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        if not self._is_on:
            return None
        if len(self._graphs) >= _MOST_GRAPHS:
            self._graphs.popitem(last=False)
        captured = self._capture(function, args, kwargs, leaves)
        if captured is not None:
            self._graphs[key] = captured
        return captured

    def _capture(
        self, function: Callable[..., Any], args: Any, kwargs: Any, leaves: Sequence[Any]
    ) -> _Graph | None:
        """None for a module that cannot be captured, which runs launch by launch from then on."""
        inputs = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        static_args, static_kwargs = rebuilt((args, kwargs), inputs)
        # One for all captures: what a stream has freed is kept for that stream alone.
        self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_RUNS):
                function(*static_args, **static_kwargs)
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                output = function(*static_args, **static_kwargs)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._is_on = False
            logger.warning("the denoiser runs without a CUDA graph: %s", type(error).__name__)
            return None
        return _Graph(graph, inputs, output)


def _copied(output: Any) -> Any:
    """The next replay writes over the buffers."""
    if isinstance(output, torch.Tensor):
        return output.clone()
    if isinstance(output, dict):
        return type(output)(**{name: _copied(one) for name, one in output.items()})
    return type(output)([_copied(one) for one in output])
