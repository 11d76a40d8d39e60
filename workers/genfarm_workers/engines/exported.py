"""Opens an exported model as what its engine calls in place of the eager module.

The one door to archives that can carry code: a `.pt2` file falls back to
pickled objects, a TorchScript file is a program. So a file is opened only when
the manifest beside it names its hash and the registry pins that manifest.
"""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from genfarm_shared.errors import MissingExtra, ModelUnavailable
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import manifest
from genfarm_workers.engines.portable import FORMATS, ExportRecord, Forward, read_record

#: How a program spells a device that was written into it: no load moves it.
_CPU_IN_PROGRAM = 'Device = prim::Constant[value="cpu"]'


def open_exported(entry: ModelEntry, folder: Path, device: str) -> Forward:
    """A call of the signature that the engine's own module has.

    Raises ModelUnavailable when the file is not pinned, not as it was pinned, or of another
    engine; MissingExtra when ONNX cannot be run here.
    """
    if not entry.sha256:
        raise ModelUnavailable(
            f"model {entry.key!r}: {folder} is an exported model, which can carry code, and so is "
            "loaded only when models.toml pins it. Set the sha256 that `genfarm models export` "
            f"printed, or, if you trust the file, that of `genfarm models pin {entry.key}`"
        )
    manifest.check_files(entry.key, folder, entry.sha256)
    record = read_record(entry.key, folder)
    _check_fit(entry, record)
    opened = _OPENERS[record.format](folder / FORMATS[record.format], device)
    return opened if record.rows is None else _InParts(opened, record.rows)


class StandIn:
    """An exported file in the place of the transformers model that it was made from.

    Called as that model is, by the names of its inputs; its result has the one field that was
    kept. Has no weights to move, and no parts.
    """

    base_model = None

    def __init__(self, forward: Forward, record: ExportRecord, config: Any) -> None:
        self.config = config
        #: Of its first input.
        self.dtype: torch.dtype = getattr(torch, record.inputs[0]["dtype"])
        #: By position.
        self.forward = forward
        self._names = [str(given["name"]) for given in record.inputs]
        self._output = record.output["name"]

    def __call__(self, **inputs: torch.Tensor) -> SimpleNamespace:
        found = self.forward(*(inputs[name] for name in self._names))
        return SimpleNamespace(**{self._output: found})


def stand_in(entry: ModelEntry, folder: Path, device: str, below: str = "") -> StandIn:
    """For an engine whose model is one of transformers', whose own files lie `below` the folder.

    Raises as `open_exported` does.
    """
    from transformers import AutoConfig

    forward = open_exported(entry, folder, device)
    config = AutoConfig.from_pretrained(
        folder / below, local_files_only=True, trust_remote_code=False
    )
    return StandIn(forward, read_record(entry.key, folder), config)


def _check_fit(entry: ModelEntry, record: ExportRecord) -> None:
    if record.engine != entry.engine:
        raise ModelUnavailable(
            f"model {entry.key!r}: the file was exported from the {record.engine} engine and "
            f"cannot be served by {entry.engine!r}. Correct engine in models.toml"
        )
    if entry.dtype not in ("auto", record.dtype):
        raise ModelUnavailable(
            f"model {entry.key!r}: the file holds {record.dtype}, and models.toml asks for "
            f"{entry.dtype}. Leave dtype out, or export the model anew"
        )


def _open_torch_export(path: Path, device: str) -> Forward:
    program = torch.export.load(path)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    module: Forward = program.module()
    return module


def _open_torchscript(path: Path, device: str) -> Forward:
    if device != "cpu" and _CPU_IN_PROGRAM in str(_load_torchscript(path, "cpu").inlined_graph):
        raise ModelUnavailable(
            f"{path} cannot be run on {device}: this TorchScript program makes tensors on the CPU "
            "wherever it runs, as those of language models and encoders do for their positions. "
            "Export the model with --format torch-export, or serve this file on a CPU"
        )
    module: Forward = _load_torchscript(path, device)
    return module


def _load_torchscript(path: Path, device: str) -> Any:
    with warnings.catch_warnings():
        # TorchScript is deprecated as a whole; it is served because people have such files.
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]


def _open_onnx(path: Path, device: str) -> Forward:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(
            "to run an ONNX model install onnxruntime: pip install 'genfarm[export]'"
        ) from error
    provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ModelUnavailable(
            f"{path} cannot be run on {device}: this onnxruntime has no {provider}. Install "
            "onnxruntime-gpu in its place, or serve the model on a CPU"
        )
    options = onnxruntime.SessionOptions()
    # As many as torch has: the worker's share of the cores, and sums that are split alike.
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    return _OnnxForward(session, device)


class _OnnxForward:
    """An onnxruntime session with tensors on both sides, by way of the host's memory."""

    def __init__(self, session: Any, device: str) -> None:
        self._session = session
        self._device = device
        self._names = [given.name for given in session.get_inputs()]

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        arrays = [tensor.detach().cpu().contiguous().numpy() for tensor in inputs]
        (found,) = self._session.run(None, dict(zip(self._names, arrays, strict=True)))
        return torch.from_numpy(found).to(self._device)


class _InParts:
    """A file of one batch size as one of any: whole batches, the last filled up with zeros."""

    def __init__(self, forward: Forward, rows: int) -> None:
        self._forward = forward
        self._rows = rows

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        count = len(inputs[0])
        starts = range(0, count, self._rows)
        parts = [self._forward(*(self._part(tensor, at) for tensor in inputs)) for at in starts]
        return torch.cat(parts)[:count]

    def _part(self, tensor: torch.Tensor, start: int) -> torch.Tensor:
        part = tensor[start : start + self._rows]
        missing = self._rows - len(part)
        return torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part


_OPENERS = {
    "torch-export": _open_torch_export,
    "torchscript": _open_torchscript,
    "onnx": _open_onnx,
}
