"""`genfarm tour`: one real job of every system that the farm's workers serve, and what came of it.

Each stop names a kind, a model and inputs; the figures are those of its job.
Knows no page: `tour_page.py` writes what was seen.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genfarm.farm import Farm
from genfarm.job import Job
from genfarm.result import Result
from genfarm.stages import Stage
from genfarm_shared.tasks import State

#: Seconds after which a stop is given up; its row says so.
PATIENCE = 1800.0
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
INKS = ("black", "blue", "red", "green")
OPENINGS = ("Once upon a time", "The old captain", "One rainy morning", "Every evening,")
CODE = ("def read(path):\n", "import os\n\n\ndef ", "class Queue:\n    ", "for name in ")
OPINIONS = (
    "I love this product, it works perfectly.",
    "This was the worst film I have seen in years.",
    "I expected to hate it, but the soup was wonderful.",
    "The phone is not good at all.",
)
TUNES = ("a slow rising scale", "a fast falling scale", "a high note", "a low note")
MOVES = ("left", "right", "up", "down")

#: The models of the chain.
CHAINED = ("digits", "captions", "stories")

#: Pictures that an earlier stop drew, for those that look at pictures.
Drawn = Sequence[Result]


@dataclass(frozen=True, slots=True)
class Stop:
    """One system of the field."""

    #: What the field calls it.
    system: str
    kind: str
    #: Registry key.
    model: str
    #: The input of that number; pictures of the farm's own are at hand.
    make: Callable[[int, Drawn], Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Whether its pictures go into the stops that follow.
    is_drawing: bool = False


@dataclass(slots=True)
class Seen:
    """What a stop showed."""

    stop: Stop
    #: What the model's entry says of itself; empty where no worker serves it.
    description: str = ""
    states: Mapping[State, int] = field(default_factory=dict)
    #: Succeeded tasks a second of wall time, from submitting to the last result.
    rate: float | None = None
    results: Sequence[Result] = ()
    job: Job | None = None

    @property
    def succeeded(self) -> int:
        return self.states.get(State.SUCCEEDED, 0)

    @property
    def total(self) -> int:
        return sum(self.states.values())


def _opening(number: int, _: Drawn) -> str:
    return OPENINGS[number % len(OPENINGS)]


def _digit(number: int, _: Drawn) -> str:
    return f"a handwritten {DIGITS[number % 10]} in {INKS[number // 10 % 4]} ink"


def _label(number: int, _: Drawn) -> dict[str, Any]:
    return {"label": number % 10}


def _picture(number: int, drawn: Drawn) -> Result:
    return drawn[number % len(drawn)]


STOPS = (
    Stop("GPT: stories", "text-generation", "stories", _opening, {"max_new_tokens": 48}),
    Stop(
        "GPT: Python code",
        "text-generation",
        "code",
        lambda number, _: CODE[number % len(CODE)],
        {"max_new_tokens": 48, "temperature": 0.7},
    ),
    Stop("Stable Diffusion", "text-to-image", "digits", _digit, is_drawing=True),
    Stop("MLP GAN", "unconditional-image-generation", "gan", _label),
    Stop("DCGAN", "unconditional-image-generation", "dcgan", _label),
    Stop("VAE: samples", "unconditional-image-generation", "vae", _label),
    Stop(
        "VAE: a walk through its latent space",
        "unconditional-image-generation",
        "vae",
        lambda number, _: {"n": 8, "label": number % 10, "to_seed": 1000 + number},
    ),
    Stop("VAE: a picture in its latent space", "feature-extraction", "vae-latent", _picture),
    Stop("ResNet: top-k of a picture", "image-classification", "digit-resnet", _picture),
    Stop("Captions", "image-to-text", "captions", _picture),
    Stop(
        "BERT: sentiment",
        "text-classification",
        "sentiment",
        lambda number, _: OPINIONS[number % len(OPINIONS)],
    ),
    Stop("Sentence embeddings", "feature-extraction", "sentences", _opening),
    Stop("Speech (VITS)", "text-to-audio", "speech", _opening),
    Stop(
        "Music (MusicGen)",
        "text-to-audio",
        "music",
        lambda number, _: TUNES[number % len(TUNES)],
    ),
    Stop(
        "Video",
        "text-to-video",
        "video",
        lambda number, _: f"a {DIGITS[number % 10]} moving {MOVES[number % 4]}",
    ),
)


def run_tour(
    farm: Farm, count: int, say: Callable[[str], None], stops: Sequence[Stop] = STOPS
) -> list[Seen]:
    """Every stop in turn, `count` items each. A model that nobody serves is in the list too."""
    served = {model.key: model for model in farm.models()}
    drawn: Drawn = ()
    everything = []
    for stop in stops:
        seen = Seen(stop, served[stop.model].description if stop.model in served else "")
        everything.append(seen)
        if stop.model not in served:
            say(f"{stop.system}: no worker serves the model {stop.model}")
            continue
        _visit(farm, seen, count, drawn)
        say(f"{stop.system}: {seen.succeeded} of {seen.total}, {seen.rate or 0:.1f} a second")
        if stop.is_drawing:
            drawn = [result for result in seen.results if result.ok]
    if all(model in served for model in CHAINED):
        everything.append(_pass(farm, count))
        say(f"{everything[-1].stop.system}: {everything[-1].succeeded} of {count}")
    return everything


def _pass(farm: Farm, count: int) -> Seen:
    """Items through a chain: a prompt is drawn, described, and the description continued."""
    kinds = ("text-to-image", "image-to-text", "text-generation")
    stop = Stop("Chain", ", ".join(kinds), ", ".join(CHAINED), _digit)
    stages = [
        Stage(kinds[0]),
        Stage(kinds[1], image="{image}"),
        Stage(kinds[2], prompt="{text}. Once upon a time", max_new_tokens=32),
    ]
    inputs = [_digit(number, ()) for number in range(count)]
    began = time.monotonic()
    chain = farm.chain(stages, inputs, on_conflict="new", progress=False)
    results = list(chain.results(ordered=True, errors="return", timeout=PATIENCE))
    seen = Seen(stop, "every item goes on as soon as it is ready", results=results)
    good = sum(result.ok for result in results)
    seen.states = {State.SUCCEEDED: good, State.FAILED: len(results) - good}
    seen.rate = good / (time.monotonic() - began)
    return seen


def _visit(farm: Farm, seen: Seen, count: int, drawn: Drawn) -> None:
    stop = seen.stop
    # As many again first: every worker that takes some has loaded the model then.
    _submit(farm, stop, count, drawn).wait(PATIENCE)
    began = time.monotonic()
    job = _submit(farm, stop, count, drawn)
    seen.results = list(job.results(ordered=True, errors="return", timeout=PATIENCE))
    seen.states, seen.job = job.status().counts, job
    seen.rate = seen.succeeded / (time.monotonic() - began)


def _submit(farm: Farm, stop: Stop, count: int, drawn: Drawn) -> Job:
    inputs = [stop.make(number, drawn) for number in range(count)]
    return farm.submit_many(
        stop.kind,
        inputs,
        model=stop.model,
        params=dict(stop.params),
        on_conflict="new",
        progress=False,
    )
