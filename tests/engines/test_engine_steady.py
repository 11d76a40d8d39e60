"""Layers whose numbers depend on the size of the batch, and calls that fit together or not."""

import gc
import weakref
from typing import Any

import torch

from genfarm_workers.engines import Work
from genfarm_workers.engines.ensemble import Ensemble, Tuner, Units
from genfarm_workers.engines.solo import Call
from genfarm_workers.engines.steady import Steady


class Moody(torch.nn.Linear):
    """Adds up in another order when the batch is wide."""

    calls = 0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(rows) + (1e-3 if len(rows) > 6 else 0.0)


def model(width: int = 256) -> torch.nn.Sequential:
    torch.manual_seed(1)
    return torch.nn.Sequential(Moody(8, width), torch.nn.ReLU())


@torch.inference_mode()
def test_a_layer_that_differs_in_company_is_computed_in_small_batches() -> None:
    layers = model(4096)
    steady, rows = Steady(layers), torch.randn(16, 8)
    alone = torch.cat([layers(part) for part in torch.split(rows, 2)])
    for _ in range(40):
        assert torch.equal(steady.launch(layers, (rows,), {}, Units([2] * 8, 0)), alone)
    moody: Any = layers[0]
    moody.calls = 0
    steady.launch(layers, (rows,), {}, Units([2] * 8, 0))
    # Three pictures, six rows, are as good as one: 3 + 3 and the two that are left.
    assert moody.calls == 4
    assert torch.equal(layers(rows), Moody.forward(moody, rows).relu())


@torch.inference_mode()
def test_a_layer_that_never_differs_is_computed_once() -> None:
    layers = model(4096)
    steady, rows = Steady(layers), torch.randn(6, 8)
    moody: Any = layers[0]
    for _ in range(40):
        steady.launch(layers, (rows,), {}, Units([2] * 3, 0))
    moody.calls = 0
    steady.launch(layers, (rows,), {}, Units([2] * 3, 0))
    assert moody.calls == 1


def part_of(rows: int, time: float, shared: torch.Tensor, **more: Any) -> Any:
    def module(sample: torch.Tensor, timestep: torch.Tensor, ids: Any, **_: Any) -> Any:
        return (sample * timestep[:, None] + ids.sum(),)

    call = Call("unet", module, (torch.full((rows, 2), time), torch.tensor(time)), more)
    call.kwargs["ids"] = shared
    return Tuner().part(call)


def test_calls_fit_together_when_all_but_their_rows_is_equal() -> None:
    same, other, work = torch.ones(3), torch.zeros(3), Work()
    parts = [
        part_of(2, 1.0, same),
        part_of(1, 2.0, same.clone()),
        part_of(2, 3.0, other),
        part_of(1, 4.0, same, scale=0.5),
    ]
    answers = Ensemble(8, work).answer(parts)
    assert work.calls == 3
    assert [one[0].tolist() for one in answers] == [
        [[4.0, 4.0]] * 2,
        [[7.0, 7.0]],
        [[9.0, 9.0]] * 2,
        [[19.0, 19.0]],
    ]


def test_batches_of_one_size_are_filled_up_and_their_padding_is_counted() -> None:
    work, same = Work(), torch.ones(3)
    ensemble = Ensemble(4, work, is_fixed=True)
    answers = ensemble.answer([part_of(2, float(i), same) for i in range(3)])
    assert [len(one[0]) for one in answers] == [2, 2, 2]
    assert (work.calls, work.computed, work.useful) == (2, 8, 6)


def test_a_module_that_is_watched_anew_lets_go_of_its_last_watcher() -> None:
    layers = model()
    first = weakref.ref(Steady(layers))
    assert first() is not None
    Steady(layers)
    gc.collect()
    assert first() is None
    moody: Any = layers[0]
    assert vars(moody)["plain_forward"].__func__ is Moody.forward
