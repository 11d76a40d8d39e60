"""Writes the model card beside a model's weights.

The prose here says what does not change from run to run; every figure is read from
the training record or handed in as metrics. It knows no model and measures nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genfarm_workers.zoo.training import read_training

_DIGITS_DATA = (
    "1,437 of the 1,797 handwritten digits (8x8 pixels) bundled with scikit-learn, a part of the "
    "UCI set *Optical Recognition of Handwritten Digits* (E. Alpaydin, C. Kaynak, 1998, "
    "https://doi.org/10.24432/C50P49, CC BY 4.0); 360 are held out of every training. "
    "Enlarged to 32x32, turned, leaned, stretched and shifted a little"
)


@dataclass(frozen=True, slots=True)
class Prose:
    """What a card says in words."""

    #: Hugging Face pipeline tag.
    tag: str
    #: Library that loads it.
    library: str
    #: What it is and does.
    what: str
    #: How to load and use it.
    use: str
    #: What it learnt from, and the licence of that.
    data: str
    #: How the figures were taken.
    measured: str
    #: What it cannot do.
    limits: str


PROSE = {
    "digits": Prose(
        tag="text-to-image",
        library="diffusers",
        what="A small Stable Diffusion pipeline that draws handwritten digits, 32x32 RGB, from "
        'prompts such as "a handwritten seven", "the digit 7" or "a seven in blue ink" (inks: '
        "black, blue, red, green). Latent diffusion with v-prediction; 15 DDIM steps and a "
        "guidance scale of 3 are a good choice. A negative prompt works: it takes the place of "
        "the empty caption that guidance pushes away from.",
        use="from diffusers import DiffusionPipeline\n\n"
        "pipeline = DiffusionPipeline.from_pretrained(DIRECTORY)\n"
        'pipeline("a handwritten seven", num_inference_steps=15, guidance_scale=3.0).images[0]',
        data=_DIGITS_DATA + " and painted on white paper in one of four inks.",
        measured="Pictures are drawn from seeds 0, 1, 2, ... and from three prompts in turn, and "
        "read by the judge of this zoo, which was trained on real digits only.",
        limits="It draws single digits and nothing else, whatever the prompt says, and only at "
        "32x32. Its strokes are as coarse as the 8x8 originals. The judge learnt from the same "
        "digits, so the figures say whether a digit is legible, not how varied the hand is.",
    ),
    "judge": Prose(
        tag="image-classification",
        library="pytorch",
        what="A small convolutional network that says which handwritten digit a picture shows. "
        "It measures what the digit pipeline draws, and shares no weights with it.",
        use="from genfarm_workers.zoo.judge import Judge\n\n"
        "Judge.load().recognise([image])  # [Verdict(digit=7, confidence=0.93)]",
        data=_DIGITS_DATA + ", with noise and edges of every softness.",
        measured="On the held-out digits, painted black on white at 32x32.",
        limits="It always answers with some digit. One digit has to fill the picture. The same 13 "
        "people wrote the training and the held-out digits.",
    ),
    "stories": Prose(
        tag="text-generation",
        library="transformers",
        what="A small GPT-2 with a byte-level BPE vocabulary of its own. It continues openings "
        'such as "Once upon a time", "The old captain" or "One rainy morning" to a little story '
        "and ends it with the end-of-text token.",
        use="from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        "model = AutoModelForCausalLM.from_pretrained(DIRECTORY)\n"
        "tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)\n"
        'story = model.generate(**tokenizer("One rainy morning", return_tensors="pt"))[0]\n'
        "tokenizer.decode(story, skip_special_tokens=True)",
        data="20,000 stories written by the grammar in `genfarm_workers/zoo/stories`, which is "
        "part of this project and under its licence.",
        measured="Held-out stories come from the same grammar, but none of their sentences occurs "
        "in the corpus: every eighth sentence, by its checksum, is kept out of all training "
        "stories. xz sees the same bytes, the model's own size is not counted for either.",
        limits="It does not keep to a name: the hero of one sentence is often another in the next, "
        "and so is the thing that was lost. It knows 660 English words and five plots. Far from "
        "those it stays grammatical for a few words at best. It has 288 positions; a story takes "
        "about 190.",
    ),
}


def write_card(directory: Path, metrics: Any) -> None:
    """Write ``README.md`` into the directory from its training record and its metrics."""
    training = read_training(directory)
    prose = PROSE[training.name]
    size = sum(f.stat().st_size for f in directory.rglob("*.safetensors")) / 1e6
    sections = [
        f"---\nlicense: apache-2.0\nlibrary_name: {prose.library}\npipeline_tag: {prose.tag}\n---",
        f"# {training.name}",
        prose.what,
        f"```python\n{prose.use}\n```",
        f"## Data\n\n{prose.data}",
        "## Training\n\n```sh\n"
        f"python -m genfarm_workers.zoo train {training.name} --seed {training.seed} "
        f"--steps {training.steps} --threads {training.threads}\n```\n\n"
        f"{training.parameters:,} parameters, {size:.1f} MB of weights. It took "
        f"{training.cpu_seconds / 60:.1f} minutes of processor time, {training.seconds / 60:.1f} "
        f"of wall time, with {training.threads} thread(s) and torch "
        f"{training.torch}.",
        f"## Figures\n\n{prose.measured}\n\n" + "\n".join(_rows(asdict(metrics))),
        f"## Limits\n\n{prose.limits}",
    ]
    (directory / "README.md").write_text("\n\n".join(sections) + "\n")


def _rows(metrics: dict[str, Any]) -> Iterator[str]:
    for name, value in metrics.items():
        title = name.replace("_", " ")
        if isinstance(value, list):
            yield f"- {title}:"
            yield from (f"  - {line}" for line in value)
        elif isinstance(value, dict):
            yield f"- {title}: " + ", ".join(f"{key}: {_figure(v)}" for key, v in value.items())
        else:
            yield f"- {title}: {_figure(value)}"


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
