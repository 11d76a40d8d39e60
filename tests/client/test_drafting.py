"""The fast way from inputs to tasks says what the slow way does, and holds little."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genfarm.drafting
import genfarm.submission
from genfarm import Farm, InvalidTask
from genfarm.batchfile import open_source
from genfarm.drafting import Order, draft, survey
from genfarm.taken import SLOTS, Taken
from genfarm_shared.kinds import KINDS, find_kind

from .tiny_worker import TinyWorker

TEXT = find_kind("text-generation")
FLOATS = st.floats(0, 10, allow_nan=False)
GIVEN = st.fixed_dictionaries(
    {
        "prompt": st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
        )
    },
    optional={
        "temperature": FLOATS | st.integers(0, 10),
        "seed": st.integers(0, 2**63 - 1),
        "n": st.integers(1, 64),
        "stop": st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3),
    },
)


@given(st.lists(GIVEN, max_size=5), st.integers(0, 1000))
def test_a_draft_holds_what_its_model_says_of_the_parameters(
    inputs: list[dict[str, Any]], seed: int
) -> None:
    order = Order(TEXT, "m", {"top_k": 3, "seed": seed})
    drafts = list(draft(order, open_source(TEXT, inputs), "job"))
    for place, (task, values) in enumerate(zip(drafts, inputs, strict=True)):
        model = TEXT.params.model_validate({"top_k": 3, "seed": seed + place, **values})
        assert json.loads(str(task.params)) == json.loads(json.dumps(model.model_dump()))
        assert list(json.loads(str(task.params))) == list(TEXT.params.model_fields)
        assert (task.seed, task.rows) == (model.model_dump()["seed"], model.rows())


@pytest.mark.parametrize("kind", KINDS)
def test_the_parameters_of_every_kind_are_encoded_whole(kind: str) -> None:
    values = {"prompt": "é\n", "size": "64x48", "values": [0.1, 1e-7, 2], "text": "é"}
    fields = find_kind(kind).params.model_fields
    given = {name: value for name, value in values.items() if name in fields}
    main = find_kind(kind).params.main
    if main in find_kind(kind).params.files:
        given[main] = f"ab/{'ab' * 32}.png"
    (task,) = draft(Order(KINDS[kind], "m", {}), open_source(KINDS[kind], [given]), "job")
    model = KINDS[kind].params.model_validate({**given, "seed": 0})
    assert json.loads(str(task.params)) == model.model_dump(mode="json")


class Counted(list[str]):
    """Inputs that count how often they are read."""

    reads = 0

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        return super().__iter__()


@pytest.mark.usefixtures("worker")
def test_inputs_that_fit_into_memory_are_read_once(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Counted(["a", "b", "c"])
    job = farm.submit_many("gen", inputs)
    assert inputs.reads == 1
    monkeypatch.setattr(genfarm.drafting, "HELD_BYTES", 1)
    farm.submit_many("gen", inputs, on_conflict="new")
    assert inputs.reads == 3
    assert farm.submit_many("gen", inputs).id == job.id  # of the same content


def test_a_survey_of_many_inputs_holds_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genfarm.drafting, "HELD_BYTES", 2000)
    order = Order(TEXT, "m", {})
    few, many = (survey(order, open_source(TEXT, ["a"] * n), "job") for n in (2, 10))
    assert (few.total, len(few.tasks or []), many.total, many.tasks) == (2, 2, 10, None)


@given(st.lists(st.text("ab", max_size=6), max_size=60))
def test_the_first_place_of_every_id_is_known(words: list[str]) -> None:
    taken, known = Taken(), dict[str, int]()
    for place, word in enumerate(words):
        assert taken.find(word) == known.get(word)
        assert taken.put(word, place) == known.get(word)
        known.setdefault(word, place)
    assert len(taken) == len(known)


def test_very_many_ids_take_little_and_none_is_forgotten() -> None:
    taken, total = Taken(), 40 * SLOTS
    assert not [n for n in range(total) if taken.put(f"item-{n}", n) is not None]
    assert [taken.find(f"item-{n}") for n in range(0, total, 99)] == [*range(0, total, 99)]
    assert taken.find("another") is None
    assert taken.nbytes <= 40 * total


def test_a_double_far_back_in_a_stream_is_named_with_both_inputs(
    farm: Farm, worker: TinyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genfarm.submission, "CHUNK", 10)
    rows = ({"prompt": "a", "id": f"x{n % 31}"} for n in range(40))
    with pytest.raises(InvalidTask, match="input 31: custom_id 'x0' is taken by input 0;"):
        farm.submit_many("gen", rows)


def test_a_double_in_a_file_is_named_with_both_lines(farm: Farm, tmp_path: Path) -> None:
    TinyWorker(farm)
    rows = ["", *(json.dumps({"prompt": "a", "id": f"x{n % 31}"}) for n in range(40))]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(InvalidTask, match=r"rows.jsonl line 33: .* taken by rows.jsonl line 2;"):
        farm.submit_many("gen", tmp_path / "rows.jsonl")
