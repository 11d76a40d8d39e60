"""Writes the model card beside a model's weights.

What does not change from run to run is said by the model's own room; every figure is read
from the training record or handed in as metrics. It knows no model and measures nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genfarm_workers import zoo
from genfarm_workers.zoo.training import Training, read_training


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


def write_card(directory: Path, metrics: Any) -> None:
    """Write ``README.md`` into the directory from its training record and its metrics."""
    training = read_training(directory)
    prose: Prose = zoo.room(training.name).PROSE
    size = sum(f.stat().st_size for f in directory.rglob("*.safetensors")) / 1e6
    sections = [
        f"---\nlicense: apache-2.0\nlibrary_name: {prose.library}\npipeline_tag: {prose.tag}\n---",
        f"# {training.name}",
        prose.what,
        f"```python\n{prose.use}\n```",
        f"## Data\n\n{training.data or prose.data}",
        "## Training\n\n```sh\n"
        f"python -m genfarm_workers.zoo train {training.name} --seed {training.seed} "
        f"--steps {training.steps} --threads {training.threads}{_data_option(training)}\n```\n\n"
        f"{training.parameters:,} parameters, {size:.1f} MB of weights. It took "
        f"{training.cpu_seconds / 60:.1f} minutes of processor time, {training.seconds / 60:.1f} "
        f"of wall time, with {training.threads} thread(s) and torch "
        f"{training.torch}.",
        f"## Figures\n\n{prose.measured}\n\n" + "\n".join(_rows(asdict(metrics))),
        f"## Limits\n\n{prose.limits}",
    ]
    (directory / "README.md").write_text("\n\n".join(sections) + "\n")


def _data_option(training: Training) -> str:
    return " --data PATH" if training.data else ""


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
