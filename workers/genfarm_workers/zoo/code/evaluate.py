"""Measures the coder on held-out modules against counting and xz, and parses what it writes."""

import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genfarm_workers.zoo.code.corpus import read_sources
from genfarm_workers.zoo.code.counts import MOST_CONTEXT, ByteCounts
from genfarm_workers.zoo.code.statements import whole_statements

#: How a measured file is cut: of each window these last tokens count, of the first one all.
_STRIDE = 192
_BATCH = 16
#: None of them parses as it stands, so what parses is what was written behind them.
_PROMPTS = (
    "import",
    "from",
    "class Reader",
    "def main(",
    "def read(self,",
    "def __init__(self",
    "for line in",
    "with open(",
    "try:\n    import",
    "if __name__",
)
_TAKES, _NEW_TOKENS = 10, 128
_SAMPLE_SEED = 7
#: Samples that the card shows.
_SHOWN = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class CodeMetrics:
    """How well the model predicts modules that it never saw, and whether it writes Python."""

    #: Files of held-out modules, and their size.
    files: int
    held_out_bytes: int
    #: Bits the model needs per byte, files one by one, ends of files included.
    bits_per_byte: float
    #: Bits that counts of the same training text need, and their bytes of context: the best of
    #: 0 to 7.
    counting_bits_per_byte: float
    counting_context: int
    #: Bits ``xz -9`` needs per byte, file by file.
    xz_bits_per_byte: float
    #: The same of all files in one, where it may repeat what other held-out files said.
    xz_in_one_bits_per_byte: float
    #: Texts sampled.
    texts: int
    #: Share of them that Python parses up to the last complete statement, and the share of
    #: their characters that this is.
    parsed: float
    parsed_characters: float
    #: Some of the texts.
    samples: list[str]


def measure_code(directory: Path) -> CodeMetrics:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    sources = [source.text for source in read_sources(held_out=True)]
    files = [text.encode() for text in sources]
    size = sum(map(len, files))
    counted = _counted_bits(b"".join(files))
    texts = sample_texts(model, tokenizer, _TAKES)
    whole = [whole_statements(text) for text in texts]
    return CodeMetrics(
        files=len(files),
        held_out_bytes=size,
        bits_per_byte=sum(bits_of(model, tokenizer, text) for text in sources) / size,
        counting_bits_per_byte=min(counted) / size,
        counting_context=counted.index(min(counted)),
        xz_bits_per_byte=sum(xz_bits(file) for file in files) / size,
        xz_in_one_bits_per_byte=xz_bits(b"".join(files)) / size,
        texts=len(texts),
        parsed=sum(part is not None for part in whole) / len(texts),
        parsed_characters=sum(len(part or "") for part in whole) / sum(map(len, texts)),
        samples=[repr(texts[prompt * _TAKES]) for prompt in _SHOWN],
    )


@torch.inference_mode()
def bits_of(model: Any, tokenizer: Any, text: str) -> float:
    """Bits of one file, its first token and its end included."""
    ids = [tokenizer.bos_token_id, *tokenizer(text, verbose=False).input_ids]
    tokens = torch.tensor([*ids, tokenizer.eos_token_id])
    width = model.config.n_positions
    starts = range(0, max(1, len(tokens) - 1 - width + _STRIDE), _STRIDE)
    nats = 0.0
    for first in range(0, len(starts), _BATCH):
        nats += sum(_nats(model, tokens, starts[first : first + _BATCH]))
    return nats / math.log(2)


def xz_bits(content: bytes) -> int:
    return 8 * len(lzma.compress(content, preset=9))


@torch.inference_mode()
def sample_texts(model: Any, tokenizer: Any, takes: int) -> list[str]:
    """Each prompt with so many sampled continuations; deterministic."""
    torch.manual_seed(_SAMPLE_SEED)
    texts: list[str] = []
    for prompt in _PROMPTS:
        asked = tokenizer([prompt] * takes, return_tensors="pt")
        length = asked.input_ids.shape[1] + _NEW_TOKENS
        written = model.generate(**asked, max_length=length)
        texts += tokenizer.batch_decode(written, skip_special_tokens=True)
    return texts


def _nats(model: Any, tokens: torch.Tensor, starts: Sequence[int]) -> list[float]:
    """Of each window, what the tokens cost that the window before has not counted."""
    width = model.config.n_positions
    windows = [tokens[start : start + width + 1] for start in starts]
    longest = max(map(len, windows))
    padded = [torch.nn.functional.pad(one, (0, longest - len(one))) for one in windows]
    batch = torch.stack(padded)
    # Padding stands behind the text, where causal attention does not look.
    logits = model(input_ids=batch[:, :-1]).logits.log_softmax(dim=-1)
    costs = -logits.gather(2, batch[:, 1:, None])[:, :, 0]
    ends = [len(window) - 1 for window in windows]
    counted = [0 if start == 0 else width - _STRIDE for start in starts]
    pairs = zip(costs, counted, ends, strict=True)
    return [float(row[known:end].sum()) for row, known, end in pairs]


def _counted_bits(held_out: bytes) -> list[float]:
    training = b"".join(source.text.encode() for source in read_sources(held_out=False))
    return ByteCounts(training, MOST_CONTEXT).bits(held_out)
