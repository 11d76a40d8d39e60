"""Inception-v3 from a file: a narrow network of the same layers, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers.judging.inception import FID_CLASSES, Inception, layer_names

#: Channels of every layer of the narrow network.
NARROW = 2
#: Channels that reach a block: the branches of the one before, side by side; 8 where not said.
WIDTHS = {"Mixed_5b": 2, "Mixed_6b": 12, "Mixed_7b": 12, "Mixed_7c": 12}


def narrow_weights(classes: int) -> dict[str, torch.Tensor]:
    """Random weights of every layer, two channels wide, one or three pixels large."""
    generator = torch.Generator().manual_seed(7)
    weights = {"fc.weight": torch.zeros(classes, 12), "fc.bias": torch.zeros(classes)}
    for name in layer_names():
        block, _, layer = name.partition(".")
        reaches = 3 if block == "Conv2d_1a_3x3" else NARROW
        if layer.endswith(("1x1", "_1", "pool")) or layer == "branch3x3":
            reaches = WIDTHS.get(block, 8)
        edge = 1 if "1x1" in name or name.endswith("pool") else 3
        shape = (NARROW, reaches, edge, edge)
        weights[f"{name}.conv.weight"] = torch.randn(shape, generator=generator) * 0.5
        for part, value in (("weight", 1.0), ("bias", 0.1), ("running_mean", 0.0)):
            weights[f"{name}.bn.{part}"] = torch.full((NARROW,), value)
        weights[f"{name}.bn.running_var"] = torch.ones(NARROW)
    return weights


def noise() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def test_every_branch_of_the_last_block_reaches_the_features(tmp_path: Path) -> None:
    file = tmp_path / "inception.safetensors"
    save_file(narrow_weights(1000), file)
    features = Inception.load(file).describe(noise())
    assert features.shape == (2, 6 * NARROW)  # 1 + 2 + 2 layers side by side, and the pool
    assert not torch.equal(features[0], features[1])


def test_weights_of_the_first_fid_are_pooled_in_their_own_way() -> None:
    ours, first = (Inception(narrow_weights(n)).describe(noise()) for n in (1000, FID_CLASSES))
    assert not torch.equal(ours, first)


def test_a_file_without_the_network_is_refused_by_its_name(tmp_path: Path) -> None:
    weights = narrow_weights(1000)
    del weights["Mixed_7c.branch_pool.conv.weight"]
    save_file(weights, tmp_path / "cut.safetensors")
    bare = {name: value for name, value in narrow_weights(1000).items() if ".bn." not in name}
    save_file(bare, tmp_path / "bare.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no such thing")
    (tmp_path / "pickled.pth").write_bytes(b"\x80\x04.")
    for name, said in (
        ("cut.safetensors", "lacks 1 layers or a part of them, Mixed_7c.branch_pool among"),
        ("bare.safetensors", f"lacks {len(layer_names())} layers or a part of them"),
        ("broken.safetensors", "cannot be read"),
        ("pickled.pth", "is no safetensors file"),
        ("absent.safetensors", "is no safetensors file"),
    ):
        with pytest.raises(ModelUnavailable, match=said):
            Inception.load(tmp_path / name)
