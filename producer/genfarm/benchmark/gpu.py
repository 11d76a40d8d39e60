"""`genfarm bench gpu`: engines on GPT-2 and Stable Diffusion 1.5 shapes beside the device's limits.

Random weights are made in place; ceilings are measured in the same call. On
one GPU some four minutes of ten with the default five rounds: a minute to
make and load the models, half a minute for texts, two for pictures, the
rest for naive Celery and for its calls without it (estimated, not measured).
Without a GPU it is a dry run of tiny shapes: every GPU figure stays open.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.benchmark.frame import (
    Peer,
    PeerFailed,
    peer,
    print_report,
    read_options,
    redis_in,
    tell,
    tell_rounds,
)
from genfarm_shared.errors import MissingExtra
from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave

ENGINE, NAIVE, LOOP = "genfarm engine in a loop", "naive celery", "its calls in a loop"
#: Characters of a prompt, and as many tokens: the tokenizer made in place knows bytes.
PROMPT = 32
CARRIED = (
    f"{NAIVE} has a queue and a result backend around its calls, {ENGINE} has nothing: "
    f"{LOOP} is the like of it"
)
OPEN = "no GPU here: tiny shapes on the CPU show that it runs, and the GPU figures are open"


@dataclass(frozen=True, slots=True)
class _Size:
    """How much of each."""

    texts: int
    tokens: int
    text_slots: int
    pictures: int
    steps: int
    #: Pixels of a side.
    side: int
    picture_slots: int
    #: Tasks of a round of naive Celery, and tasks that are run alone too.
    few_texts: int
    few_pictures: int


FULL = _Size(2048, 128, 256, 64, 30, 512, 8, few_texts=8, few_pictures=4)
TINY = _Size(6, 8, 4, 3, 2, 16, 2, few_texts=2, few_pictures=1)


@dataclass(frozen=True, slots=True)
class _Case:
    """A model, its tasks, and what is wanted of them."""

    title: str
    unit: str
    entry: Mapping[str, Any]
    tasks: Sequence[Mapping[str, Any]]
    few: int
    #: What a task counts for in the unit.
    worth: float
    #: The device's own limit, in the unit, and what it is.
    limit: float
    limited_by: str
    #: Wanted of that limit, and of naive Celery.
    share: float
    over_naive: float


@dataclass(slots=True)
class _Stage:
    """What stands while arms take turns."""

    engine: Peer
    about: Mapping[str, Any]
    naive: Peer | None
    #: Why there is no naive Celery.
    lack: str = ""

    @property
    def has_gpu(self) -> bool:
        return bool(self.about["device"] == "cuda")


def main() -> None:
    """Measure, and print the report."""
    options = read_options("GPT-2 and Stable Diffusion shapes beside the device's own limits.")
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="genfarm-bench-") as place, ExitStack() as doors:
        folder = Path(place)
        module = "genfarm_workers.benchmark.gpu"
        engine = doors.enter_context(peer(module, log=folder / "engine.log"))
        stage = _Stage(engine, engine.ask("about"), None)
        if not options.only or "naive" in options.only:  # it loads the models a second time
            _add_naive(stage, folder, doors)
        tell(f"measuring the ceilings of {stage.about['name']}")
        ceilings = engine.ask("ceilings")
        parts = [*_ceiling_parts(ceilings, stage)]
        size = FULL if stage.has_gpu and not options.is_quick else TINY
        for name, make in (("text", _make_text), ("image", _make_image)):
            if options.wants(name):
                tell(f"making a model of {name}")
                case = make(stage, ceilings, size, folder / name)
                parts.append(_measure(stage, case, options.rounds))
    question = f"How near its own limits do engines run {stage.about['name']}?"
    print_report(Report("gpu", question, tuple(parts)))


def _add_naive(stage: _Stage, folder: Path, doors: ExitStack) -> None:
    try:
        (folder / "naive").mkdir()
        url = doors.enter_context(redis_in(folder / "naive"))
    except MissingExtra as error:
        stage.lack = f"no naive Celery: {error}"
        return
    module = "genfarm_workers.benchmark.naive"
    stage.naive = doors.enter_context(peer(module, "--broker", url, log=folder / "naive.log"))


def _ceiling_parts(ceilings: Mapping[str, float], stage: _Stage) -> Iterator[Part]:
    notes = (f"{stage.about['name']}, torch {stage.about['torch']}; the best of five",)
    flops = Measured("bf16 matrix product", (ceilings["flops"] / 1e12,))
    yield Part("arithmetic ceiling", "TFLOP/s", (flops,), (), notes)
    copied = Measured("copy, read and written", (ceilings["bytes_per_second"] / 1e9,))
    yield Part("memory ceiling", "GB/s", (copied,), (), notes)


def _make_text(stage: _Stage, ceilings: Mapping[str, float], size: _Size, folder: Path) -> _Case:
    """A decode step moves the weights once, and each row's cache and logits."""
    where = {"folder": str(folder), "tiny": size is TINY}
    moved = stage.engine.ask("make", kind="text-generation", **where)
    per_row = (PROMPT + size.tokens / 2) * moved["kv_bytes_per_token"]
    rows = size.text_slots * (per_row + moved["logit_bytes_per_row"])
    step_seconds = (moved["weight_bytes"] + rows) / ceilings["bytes_per_second"]
    tasks = [
        {"prompt": f"{n:0{PROMPT}d}", "max_new_tokens": size.tokens, "seed": n}
        for n in range(size.texts)
    ]
    entry = _entry("bench-text", "text-generation", "text", folder, size.text_slots)
    return _Case(
        title=f"{size.texts} texts of {size.tokens} tokens, {size.text_slots} slots",
        unit="tokens/s",
        entry=entry,
        tasks=tasks,
        few=size.few_texts,
        worth=size.tokens,
        limit=size.text_slots / step_seconds,
        limited_by="the memory ceiling at full slots, prefill not counted",
        share=0.25,
        over_naive=500.0,
    )


def _make_image(stage: _Stage, ceilings: Mapping[str, float], size: _Size, folder: Path) -> _Case:
    where = {"folder": str(folder), "tiny": size is TINY}
    counted = stage.engine.ask("make", kind="text-to-image", **where)
    # Twice a step: with the prompt and without.
    flops = 2 * size.steps * counted["step_flops"] + counted["decode_flops"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    tasks = [
        {"prompt": f"a {letters[n % len(letters)]}", "steps": size.steps, "seed": n}
        for n in range(size.pictures)
    ]
    limits = {"steps": size.steps, "guidance_scale": 7.5, "size": [size.side, size.side]}
    entry = _entry("bench-image", "text-to-image", "image", folder, size.picture_slots)
    return _Case(
        title=f"{size.pictures} pictures, {size.side}x{size.side}, {size.steps} steps",
        unit="images/s",
        entry={**entry, "limits": limits},
        tasks=tasks,
        few=size.few_pictures,
        worth=1.0,
        limit=ceilings["flops"] / flops,
        limited_by=f"the arithmetic ceiling at {flops / 1e12:.3g} TFLOP a picture",
        share=0.5,
        over_naive=3.5,
    )


def _entry(key: str, kind: str, engine: str, source: Path, slots: int) -> dict[str, Any]:
    return {"key": key, "kind": kind, "engine": engine, "source": str(source), "slots": slots}


def _measure(stage: _Stage, case: _Case, rounds: int) -> Part:
    tell(f"{case.title}: loading")
    busy: list[float] = []
    last: dict[str, Any] = {}

    def run() -> float:
        found = stage.engine.ask("run", model=case.entry, tasks=case.tasks)
        last.update(found)
        busy.extend([found["utilisation"]] if found["utilisation"] is not None else [])
        units = found["output_tokens"] or case.worth * len(case.tasks)
        return float(units / found["seconds"])

    few = case.tasks[: case.few]
    alone = stage.engine.ask("run", model=case.entry, tasks=few, alone=True)["digests"]
    run()  # warm at the full size
    busy.clear()
    arms, notes = [Arm(ENGINE, run)], []
    naive = _naive_arms(stage, case)
    if isinstance(naive, str):
        notes.append(naive)
    else:
        arms += naive
        notes.append(CARRIED)
    part = Part(case.title, case.unit, interleave(arms, rounds, tell_rounds(case.title)))
    same = sum(a == b for a, b in zip(alone, last["digests"], strict=False)) / len(few)
    notes.append(f"the limit is {case.limit:,.4g} {case.unit}: {case.limited_by}")
    if not busy:
        notes.append(f"no utilisation: {last['utilisation_fault'] or 'too short to be seen'}")
    if not stage.has_gpu:
        notes.append(OPEN)
    ratios = tuple(_ratios(stage, case, part, busy, same))
    return Part(part.title, part.unit, part.arms, ratios, tuple(notes))


def _naive_arms(stage: _Stage, case: _Case) -> list[Arm] | str:
    """The arms, or why there are none."""
    if stage.naive is None:
        return stage.lack or "naive Celery was not asked for"
    naive, device = stage.naive, stage.about["device"]

    def run(op: str) -> float:
        few = list(case.tasks[: case.few])
        found = naive.ask(op, model=case.entry, tasks=few, device=device)
        return case.worth * len(few) / float(found["seconds"])

    arms = [Arm(NAIVE, lambda: run("run")), Arm(LOOP, lambda: run("loop"))]
    try:
        for arm in arms:
            arm.run()  # loads the model
    except PeerFailed as error:
        return f"no naive Celery: {error}"
    return arms


def _ratios(
    stage: _Stage, case: _Case, part: Part, busy: Sequence[float], same: float
) -> Iterator[Ratio]:
    """With the goals of a GPU only where there is one."""
    goals = stage.has_gpu
    ours = part.median(ENGINE)
    yield Ratio("share of the limit", ours / case.limit, case.share if goals else None)
    for other in filter(part.has, (NAIVE, LOOP)):
        over = case.over_naive if goals else None
        yield Ratio(f"{ENGINE} / {other}", ours / part.median(other), over)
    if busy:
        yield Ratio("utilisation of the GPU", sum(busy) / len(busy), 0.95 if goals else None)
    yield Ratio("outputs that are the same alone and in company", same, 1.0)


if __name__ == "__main__":
    main()
