"""Which word behind `genfarm bench` is which program. Imports none of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genfarm_shared.errors import NotFound


@dataclass(frozen=True, slots=True)
class Program:
    """One benchmark, a module that prints a `measure.Report`."""

    name: str
    module: str
    #: What it holds against what.
    said: str
    #: Packages without which it cannot run, and the extra of genfarm that brings them.
    needs: Sequence[str] = ()
    extra: str = "local"


_MODELS = ("torch", "transformers", "diffusers")

PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program(
            "publish",
            "genfarm.benchmark.publish",
            "Durable bulk submission beside Celery's apply_async and a raw Redis pipeline",
        ),
        Program(
            "drain",
            "genfarm.benchmark.drain",
            "No-op tasks through one worker beside Celery's pools and other task queues",
        ),
        Program(
            "concurrency",
            "genfarm.benchmark.concurrency",
            "Hundreds of tasks that wait, through one worker, beside goroutines and threads",
        ),
        Program(
            "text",
            "genfarm_workers.benchmark.text",
            "The text engine beside one prompt at a time, static batches and transformers' own",
            _MODELS,
            "worker",
        ),
        Program(
            "image",
            "genfarm_workers.benchmark.image",
            "The image engine beside the stock pipeline, and its pictures against the pipeline's",
            _MODELS,
            "worker",
        ),
        Program(
            "residency",
            "genfarm_workers.benchmark.residency",
            "Several models on one worker within a memory budget",
            ("torch",),
            "worker",
        ),
        Program(
            "farm",
            "genfarm.benchmark.farm",
            "The whole farm beside its bare engine, naive Celery and LitServe",
            _MODELS,
            "worker,local",
        ),
        Program(
            "gpu",
            "genfarm.benchmark.gpu",
            "GPT-2 and Stable Diffusion shapes beside the device's own limits and naive Celery",
            _MODELS,
            "worker,local",
        ),
    )
}


def choose_programs(names: Sequence[str]) -> list[Program]:
    """The programs of those names, all of them for none. Raises NotFound."""
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        raise NotFound(f"no benchmark {unknown[0]!r}; there are {', '.join(PROGRAMS)}")
    return [PROGRAMS[name] for name in names] if names else list(PROGRAMS.values())
