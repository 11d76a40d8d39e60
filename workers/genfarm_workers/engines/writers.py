"""The three formats that a model can be written in, each for any batch size or for one.

Knows no engine and checks nothing: what comes out may differ from what went in.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from genfarm_shared.errors import MissingExtra, ModelUnavailable
from genfarm_workers.engines.portable import ExportParts
from genfarm_workers.engines.precision import is_lowered

#: An ONNX file cannot be larger than 2 GB; from here on its weights lie in a file beside it.
_ONE_FILE_BYTES = 1_500_000_000


@contextmanager
def undisturbed() -> Iterator[None]:
    """No gradients, and none of the exporters' advice: TorchScript's of its own deprecation,
    ONNX's of packages that no model here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _program(parts: ExportParts, rows: int | None) -> torch.export.ExportedProgram:
    anything = torch.export.Dim.DYNAMIC
    batch = {0: anything} if rows is None else {}
    shapes = tuple(
        {**batch, **dict.fromkeys(parts.dynamic.get(name, {}), anything)} for name in parts.inputs
    )
    return torch.export.export(parts.module, tuple(parts.inputs.values()), dynamic_shapes=(shapes,))


def _write_torch_export(parts: ExportParts, rows: int | None, path: Path) -> None:
    torch.export.save(_program(parts, rows), path)


def _write_torchscript(parts: ExportParts, rows: int | None, path: Path) -> None:
    traced = torch.jit.trace(parts.module, tuple(parts.inputs.values()), check_trace=False)  # type: ignore[no-untyped-call]
    traced.save(str(path))


def _write_onnx(parts: ExportParts, rows: int | None, path: Path) -> None:
    if is_lowered(parts.module):
        raise ModelUnavailable(
            "ONNX files in int8 are not written: the exporter knows no such layer. Export in "
            "torch-export or torchscript: --format"
        )
    if any(p.dtype == torch.bfloat16 for p in parts.module.parameters()):
        raise ModelUnavailable(
            "ONNX files in bfloat16 are not written: onnxruntime has next to no such kernels for "
            "a CPU. Export in float32 or float16: --dtype"
        )
    try:
        import onnx as _onnx  # noqa: F401
        import onnxruntime as _onnxruntime  # noqa: F401
        import onnxscript as _onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"to write ONNX install what is missing ({error.name}): pip install 'genfarm[export]'"
        ) from error
    found = torch.onnx.export(
        _program(parts, rows),
        input_names=list(parts.inputs),
        output_names=[parts.output],
        dynamo=True,
        verbose=False,
    )
    assert found is not None  # noqa: S101  # with `dynamo`, and no path, it always is there
    size = sum(p.nbytes for p in parts.module.state_dict().values())
    found.save(path, external_data=size > _ONE_FILE_BYTES)


WRITERS: Mapping[str, Callable[[ExportParts, int | None, Path], None]] = {
    "torch-export": _write_torch_export,
    "torchscript": _write_torchscript,
    "onnx": _write_onnx,
}
