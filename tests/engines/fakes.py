"""What the tests here share: a fake engine with known answers, texts, and types of fixtures."""

from collections.abc import Callable, Sequence

from genfarm_shared.tasks import Claim
from genfarm_workers.engines import Engine, Glimpse, Output, Picture, Work

Claimer = Callable[..., Claim]
Runner = Callable[[Engine, Sequence[Claim]], dict[str, Output]]

TEXTS = [
    "Once upon a time there was a clever duck named Lily.",
    "Every morning the old fox walked to the garden, and was glad.",
    "Grüße aus München: ein Bär, zwei Äpfel, drei Öfen.",
]


def pictures_of(output: Output) -> list[Picture]:
    """The pictures of an output that did not fail."""
    assert output.failure is None, output.failure
    pictures = [media for media in output.files if isinstance(media, Picture)]
    assert len(pictures) == len(output.files)
    return pictures


class FakeEngine:
    """Ends all it holds in one step; raises for prompts and batch sizes it is told to."""

    slots = 8

    def __init__(self) -> None:
        self.work = Work()
        self.held: dict[str, Claim] = {}
        self.steps: list[list[str]] = []
        self.poison: set[str] = set()
        self.most_tasks = 8
        self.is_lost = False
        #: What a glimpse tells, and what happens meanwhile.
        self.told = 0
        self.says = ""
        self.on_glimpse: Callable[[], object] = lambda: None

    def load(self) -> None: ...

    def free_rows(self, batch_key: str) -> int:
        if any(claim.batch_key != batch_key for claim in self.held.values()):
            return 0
        return self.slots - sum(claim.rows for claim in self.held.values())

    def admit(self, claims: Sequence[Claim]) -> None:
        self.held.update((claim.task_id, claim) for claim in claims)

    def step(self, now: float) -> list[Output]:
        self.steps.append(list(self.held))
        if self.is_lost:
            raise type("AcceleratorError", (RuntimeError,), {})("CUDA error")
        if len(self.held) > self.most_tasks:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        if self.poison & set(self.held):
            prompts = [claim.params["prompt"] for claim in self.held.values()]
            raise ValueError(f"cannot draw {prompts[0]}")
        outputs = [Output(task_id, output={}) for task_id in self.held]
        self.held.clear()
        return outputs

    def wakes_at(self, now: float) -> float | None:
        return now if self.held else None

    def drop(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self.held.pop(task_id, None)

    def glimpses(self, task_ids: Sequence[str]) -> list[Glimpse]:
        self.on_glimpse()
        return [
            Glimpse(task_id, self.told, 8, self.says)
            for task_id in task_ids
            if task_id in self.held
        ]
