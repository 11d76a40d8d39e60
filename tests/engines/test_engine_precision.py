"""Precisions by registry setting: where each works, what it costs, and that rows stay apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines.comparing import compare_precisions
from genfarm_workers.engines.precision import Int8Linear, load_dtype, lowered
from genfarm_workers.engines.quicken import PackedLinear, quicken, unpacked
from genfarm_workers.engines.transfer import to_device
from genfarm_workers.engines.weights import choose_dtype

from .fakes import Claimer, Runner

Entry = Callable[..., ModelEntry]


def test_a_row_in_int8_has_the_same_bits_alone_and_in_any_company() -> None:
    torch.manual_seed(1)
    layer = torch.nn.Linear(48, 40)
    small = Int8Linear(layer.weight.detach(), layer.bias.detach())
    rows = torch.randn(17, 48)
    rows[1:] *= torch.logspace(-3, 3, 16)[:, None]
    together = small(rows)
    for place in range(17):
        assert torch.equal(small(rows[place : place + 1])[0], together[place])
    assert (together[0] - layer(rows[:1])[0]).abs().max() < 0.03


def test_an_empty_row_and_an_empty_column_are_no_division_by_nought() -> None:
    small = Int8Linear(torch.zeros(3, 4), None)
    assert torch.equal(small(torch.zeros(2, 4)), torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16"])
def test_texts_in_a_lower_precision_depend_on_no_neighbour(
    text_engine: Any, claim: Claimer, run: Runner, dtype: str
) -> None:
    engine = text_engine(dtype=dtype)
    claims = [
        claim(f"t{i}", "text-generation", "tiny", prompt="x" * (5 * i + 1), max_new_tokens=12)
        for i in range(4)
    ]
    together = run(engine, claims)
    for one in claims:
        assert run(engine, [one])[one.task_id].output == together[one.task_id].output


def test_gpt2s_own_layers_are_int8_too(text_engine: Any) -> None:
    (model,) = text_engine(dtype="int8").modules()
    layers = [type(part).__name__ for part in model.modules()]
    assert layers.count("Int8Linear") == 2 * 4 + 1
    assert not {"Conv1D", "Linear"} & set(layers)


def test_int8_is_refused_where_it_does_not_serve(entry: Entry) -> None:
    image = entry("sd", "text-to-image", "image", dtype="int8")
    with pytest.raises(ModelUnavailable, match="the image engine has no dtype 'int8'"):
        choose_dtype(image, "cpu")
    on_gpu = entry("t", "text-generation", "text", dtype="int8")
    with pytest.raises(ModelUnavailable, match="for workers on a CPU, and this one is on cuda:0"):
        load_dtype(on_gpu, "cuda:0")
    convolutions = torch.nn.Sequential(torch.nn.Conv2d(8, 64, 3), torch.nn.Linear(64, 2))
    with pytest.raises(ModelUnavailable, match="hold 3% of this model's numbers"):
        lowered(convolutions, on_gpu)


def test_precisions_are_compared_side_by_side(entry: Entry, text_folder: Path) -> None:
    tiny = entry("tiny", "text-generation", "text", source=str(text_folder), dtype="int8")
    exact, half, small = compare_precisions(tiny, ["bfloat16", "int8", "float32"])
    assert [cost.dtype for cost in (exact, half, small)] == ["float32", "bfloat16", "int8"]
    assert (exact.difference, exact.same_top) == (0.0, 1.0)
    assert max(half.bytes, small.bytes) < 0.6 * exact.bytes
    for cost in (half, small):
        assert cost.difference > 0
        assert cost.same_top > 0.5
        assert cost.cpu_ms_per_row > 0


def test_a_precision_that_a_model_has_not_is_said_beside_the_others(entry: Entry) -> None:
    exact, half, small = compare_precisions(
        entry("floats", "batch-floats", "floats"), ["float16", "int8"]
    )
    assert (exact.refused, half.refused) == ("", "")
    assert half.difference > 0
    assert 2 * half.bytes == exact.bytes
    assert "the floats engine has no dtype 'int8'" in small.refused


def test_packed_layers_are_unpacked_to_the_same_weights() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_embd=256, n_head=2, n_positions=8, vocab_size=300)
    model = GPT2LMHeadModel(config).to(torch.bfloat16).eval()
    weights = model.transformer.h[0].mlp.c_fc.weight.clone()
    packed = quicken(model)
    assert isinstance(packed.transformer.h[0].mlp.c_fc, PackedLinear)
    plain: Any = unpacked(packed)
    assert torch.equal(plain.transformer.h[0].mlp.c_fc.weight.T, weights)
    assert not any(isinstance(module, PackedLinear) for module in plain.modules())


def test_a_batch_for_the_cpu_stays_where_it_is() -> None:
    tensor = torch.ones(3)
    assert to_device(tensor, "cpu") is tensor
