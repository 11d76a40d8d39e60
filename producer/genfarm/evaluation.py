"""The quality of what a job generated: laid out for the judges, and what they found.

The judges need torch and run in a process of their own; this room knows no
measure and loads no model.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genfarm import page
from genfarm.drawing import Drawing
from genfarm.result import Result
from genfarm.sheet import Table
from genfarm_shared.errors import GenfarmError, InvalidTask, MissingExtra, ModelUnavailable
from genfarm_shared.figures import Figure

#: What the table says of each figure.
HEAD = ("measure", "value", "real", "n", "what it says")
#: Widest cell: a note that is cut would not say how a figure misleads.
WIDEST = 200
#: Pairs of duplicates that a table lists; `pairs` has all.
LISTED = 10


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the judges found; prints itself as a table."""

    #: Id or name of the job.
    job: str
    #: `pictures` or `texts`.
    what: str
    #: How many were judged.
    n: int
    figures: Sequence[Figure]
    #: Outputs that are alike, the likest first: `first`, `second`, `likeness`, `is_same`.
    pairs: Sequence[Mapping[str, Any]]
    #: Of each label that prompts ask for: how many ask, and how many of these are recognised.
    labels: Mapping[str, Sequence[int]]
    #: What was left out, and how to have it.
    remarks: Sequence[str]

    def __getitem__(self, name: str) -> float:
        """A figure's value by its name."""
        for figure in self.figures:
            if figure.name == name:
                return figure.value
        known = ", ".join(figure.name for figure in self.figures)
        raise KeyError(f"no figure {name!r}; there are {known}")

    def show(self) -> Drawing:
        """A bar for each figure, with a mark where the real ones are."""
        from genfarm.evaluation_chart import draw_evaluation

        return draw_evaluation(self)

    def to_json(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)

    def __repr__(self) -> str:
        return "\n".join([self._title, *map(repr, self._tables()), *self.remarks])

    def _repr_html_(self) -> str:
        from html import escape

        tables = "".join(page.table(table.head, table.rows) for table in self._tables())
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks)
        return f"<b>{escape(self._title)}</b>{tables}{remarks}"

    @property
    def _title(self) -> str:
        return f"{self.n} {self.what} of {self.job}"

    def _tables(self) -> Iterator[Table]:
        figures = [
            (f.name, number(f.value), "" if f.real is None else number(f.real), str(f.n), f.note)
            for f in self.figures
        ]
        yield Table(HEAD, figures, widest=WIDEST)
        if self.labels:
            shares = [
                (label, str(asked), str(right), f"{right / asked:.0%}")
                for label, (asked, right) in self.labels.items()
            ]
            yield Table(("asked", "pictures", "recognised", "share"), shares)
        if self.pairs:
            pairs = [
                (
                    pair["first"],
                    pair["second"],
                    "all" if pair["is_same"] else f"{pair['likeness']:.0%}",
                )
                for pair in self.pairs[:LISTED]
            ]
            yield Table((f"alike ({len(self.pairs)})", "and", "in common"), pairs)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def evaluate_results(
    job: str,
    results: Iterator[Result],
    against: str | os.PathLike[str] | None = None,
    model: str | None = None,
    inception: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Have results judged. Raises InvalidTask, MissingExtra, ModelUnavailable."""
    if find_spec("torch") is None:
        raise MissingExtra("judging needs torch and the models: pip install 'genfarm[worker,zoo]'")
    with tempfile.TemporaryDirectory(prefix="genfarm-judging-") as folder:
        if not _lay_out(results, Path(folder)):
            raise InvalidTask(
                f"job {job} has no picture and no text to judge; wait for results, or look at "
                "its errors"
            )
        options = [("--against", against), ("--model", model), ("--inception", inception)]
        flags = [
            str(part) for flag, value in options if value is not None for part in (flag, value)
        ]
        found = _ask(Path(folder), flags)
    figures = [Figure(**figure) for figure in found.pop("figures")]
    return Evaluation(job=job, figures=figures, **found)


def _lay_out(results: Iterator[Result], folder: Path) -> int:
    """Write the samples down, a line each; returns how many."""
    number = 0
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as lines:
        for result in results:
            for sample in _samples(result, folder, number):
                lines.write(json.dumps(sample) + "\n")
                number += 1
    return number


def _samples(result: Result, folder: Path, number: int) -> Iterator[dict[str, str]]:
    """The pictures of a result, or its texts."""
    pictures = result.artifacts_of("picture")
    outputs: Sequence[Any] = pictures or result.texts
    for place, output in enumerate(outputs):
        name = result.custom_id if len(outputs) == 1 else f"{result.custom_id}#{place + 1}"
        sample = {"name": name, "prompt": _asked(result, place)}
        if pictures:
            path = folder / f"{number + place:08d}{Path(output.name).suffix}"
            path.write_bytes(result.read(output))
            yield sample | {"path": str(path)}
        else:
            yield sample | {"text": output}


def _asked(result: Result, place: int) -> str:
    """What that output was to be: the prompt, or the class of a model that has no prompts."""
    classes: Sequence[Any] = result.output.get("labels", ())
    name = classes[place] if place < len(classes) else None
    return str(result.params.get("prompt") or ("" if name is None else name))


def _ask(folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """What the judges' process says."""
    argv = [sys.executable, "-P", "-m", "genfarm_workers.judging", str(folder), *flags]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    said = done.stderr.strip().rpartition("\n")[2] or "they said nothing"
    if done.returncode == 2:
        raise InvalidTask(said)
    if done.returncode == 5:
        raise ModelUnavailable(said)
    raise GenfarmError(f"the judges ended with code {done.returncode}: {said}. This is a bug.")
