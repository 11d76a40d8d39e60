"""What templates see: of the item, and of the tasks that it went through.

    of every task      params, seed, image, images, audio, audios, video, videos (names of files)
    of its output      every word of it, such as texts, labels, values
    and for short      text = texts[0], label = labels[0].label, score = labels[0].score

Pure: knows no store. A stage is tried on examples before anything is written,
so that a word that no task of its kind gives is refused at the door.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genfarm_shared.chains import INPUT, Plan, child_seed
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import check_params, find_kind
from genfarm_shared.kinds.params import Params
from genfarm_shared.mediatypes import Sort, sort_of
from genfarm_shared.tasks import Artifact, TaskRecord
from genfarm_shared.templates import TWIN, Path, fill, follow_path

#: What templates call the files of each sort.
_WORDS: Mapping[str, Sort] = {"image": "picture", "audio": "sound", "video": "clip"}


@dataclass(frozen=True, slots=True)
class Sight:
    """What one row's templates see."""

    plan: Plan
    #: The row's own.
    stage: int
    #: The tasks that it comes of, by stage, as `view` shows them.
    seen: Mapping[int, Mapping[str, Any]]
    #: What the item says, by name; None where nobody asks for it.
    item: Mapping[str, Any] | None
    #: Number of the row among its twins.
    twin: int = 0

    def look_up(self, path: Path) -> object:
        """What is there. Raises InvalidTask, which quotes no value."""
        if path.root == TWIN and not path.rest:
            return self.twin
        stage = self.plan.stage_of(self.stage, path)
        if stage is None:
            return self._of_item(path)
        seen = self.seen.get(stage, {})
        if self.plan.steps[stage].name != path.root:
            if seen.get(path.root) is None:
                raise InvalidTask(self._nothing(path, stage))
            return follow_path(path, seen[path.root], self.twin)
        if not path.rest:
            raise InvalidTask(
                f"{{{path}}} is a whole stage; say what of it, such as {{{path}.{_a_word(seen)}}}"
            )
        return follow_path(path, seen, self.twin)

    def params(self, seed: int) -> Params:
        """The parameters of the row, of which `seed` is that of the row it comes of. Raises
        InvalidTask."""
        step = self.plan.steps[self.stage]
        values = {"seed": child_seed(seed, self.stage, self.twin)}
        for name, template in step.params.items():
            try:
                values[name] = fill(template, self.look_up)  # type: ignore[assignment]
            except InvalidTask as error:
                raise InvalidTask(f"{name}: {error}", param=name) from None
        return check_params(find_kind(step.kind), values, quotes=False)

    def score(self, by: Path) -> float | None:
        """The number at that path, by which rivals are compared; None where there is none."""
        try:
            value = self.look_up(by)
        except InvalidTask:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else None  # type: ignore[arg-type]

    def _of_item(self, path: Path) -> object:
        item = self.item or {}
        main = find_kind(self.plan.steps[0].kind).params.main
        is_named = bool(path.rest) and isinstance(path.rest[0], str) and path.rest[0] != TWIN
        if path.root != INPUT or (not is_named and main not in item):
            raise InvalidTask(f"there is no {{{path}}}")
        return follow_path(path, item if is_named else item[main], self.twin)

    def _nothing(self, path: Path, stage: int) -> str:
        step, seen = self.plan.steps[stage], self.seen.get(stage, {})
        words = ", ".join(sorted(word for word, value in seen.items() if value is not None))
        return f"{{{path}}}: stage {stage + 1} ({step.name}) gives no {path.root}; it gives {words}"


def view(record: TaskRecord) -> dict[str, Any]:
    """What templates see of a task that succeeded."""
    return _view(record.output or {}, record.artifacts, record.params, record.seed)


def sample(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """What templates see of a task of that kind and those parameters, by example."""
    output, types = _SAMPLES[kind]
    name = f"00/{64 * '0'}.png"
    seen = _view(output, [Artifact(name, 64 * "0", 1, each) for each in types], params, 0)
    return {
        word: _Endless(value) if isinstance(value, list) and value else value
        for word, value in seen.items()
        if value not in (None, [])
    }


def _view(
    output: Mapping[str, Any], artifacts: Sequence[Artifact], params: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    seen: dict[str, Any] = {**output, "params": dict(params), "seed": seed}
    for what, sort in _WORDS.items():
        names = [a.name for a in artifacts if sort_of(a.media_type) == sort]
        seen |= {f"{what}s": names, what: names[0] if names else None}
    texts, labels = seen.get("texts"), seen.get("labels")
    if isinstance(texts, list) and texts:
        seen["text"] = texts[0]
    if isinstance(labels, list) and labels and isinstance(labels[0], dict):
        seen |= {name: labels[0].get(name) for name in ("label", "score")}
    return seen


def _a_word(seen: Mapping[str, Any]) -> str:
    return next((word for word in ("text", "image", "label", "values") if seen.get(word)), "seed")


class _Endless(list[Any]):
    """An example of a list: whatever number is asked for, there is one."""

    def __getitem__(self, place: Any) -> Any:
        return super().__getitem__(0)


_TEXTS = {"texts": _Endless(["a"])}
_LABELS = {"labels": _Endless([{"label": "a", "score": 0.5}])}
_SEEDS = {"seeds": _Endless([0])}
#: What a task of each kind gives, by example, and the types of its files.
_SAMPLES: Mapping[str, tuple[Mapping[str, Any], Sequence[str]]] = {
    "text-generation": (_TEXTS, ()),
    "image-to-text": (_TEXTS, ()),
    "text-to-image": (_SEEDS, ("image/png",)),
    "unconditional-image-generation": (_SEEDS, ("image/png",)),
    "image-classification": (_LABELS, ()),
    "text-classification": (_LABELS, ()),
    "feature-extraction": ({"embedding": _Endless([0.5])}, ()),
    "text-to-audio": ({**_SEEDS, "rate": 16_000, "seconds": 1.0}, ("audio/wav",)),
    "text-to-video": ({**_SEEDS, "frames": 8, "fps": 8}, ("video/mp4",)),
    "sleep": ({"slept_seconds": 0.5}, ()),
    "batch-floats": ({"values": _Endless([0.5])}, ()),
    "drill": ({"answer": "a", **_TEXTS}, ("image/png",)),
}
