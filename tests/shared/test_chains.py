"""Chains on paper: templates, what they see, and which row comes of which."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genfarm.stages import Best, Stage, make_plan, try_out
from genfarm_shared.chains import Plan, Step, best_of, child_seed, job_of, place_of
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import KINDS
from genfarm_shared.sight import Sight, sample
from genfarm_shared.templates import fill, paths_of, read_path, read_template

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
#: Fans of a chain: each opened by a stage and, where the flag says so, closed by the next.
FANS = st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4)


def plan_of(*stages: Stage | Best | str) -> Plan:
    return make_plan([*stages], [])


def drill(**params: Any) -> Stage:
    return Stage("drill", model="drill", **params)


def laid_out(fans: list[tuple[int, bool]]) -> Plan:
    steps: list[Step] = []
    for times, is_closed in fans:
        steps.append(Step(f"s{len(steps)}", "drill", "drill", times=times))
        if is_closed and times > 1:
            steps.append(Step(f"s{len(steps)}", "drill", "drill", fold=times, by="score"))
    return Plan(tuple(steps))


@given(TEXT)
def test_a_text_with_doubled_braces_is_itself(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert fill(doubled, lambda path: pytest.fail(str(path))) == text


@given(TEXT, st.one_of(st.integers(), st.floats(allow_nan=False), st.lists(st.text())))
def test_a_hole_alone_keeps_its_type_and_within_words_is_spelt(text: str, value: object) -> None:
    assert fill("{text}", lambda _path: value) is value
    spelt = fill("a{x}", lambda _path: text)
    assert spelt == f"a{text}"


def test_holes_within_a_list_are_filled_and_seen() -> None:
    template = ["{text}", 3, ["b {text}"], "{{"]
    assert fill(template, lambda path: f"<{path}>") == ["<text>", 3, ["b <text>"], "{"]
    assert [str(path) for path in paths_of(template)] == ["text", "text"]


@pytest.mark.parametrize(
    "path", ["input", "texts[1]", "labels[0].score", "text-to-image.images[k]", "a.params.size[0]"]
)
def test_a_path_prints_as_it_was_read(path: str) -> None:
    assert str(read_path(path)) == path


@pytest.mark.parametrize(
    "text", ["{", "a}b", "{}", "{a b}", "{a[x]}", "{a.}", "{__import__('os')}"]
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask):
        read_template(text)


@given(FANS, st.integers(0, 9))
def test_every_row_comes_of_one_unit_and_every_unit_of_one_item(
    fans: list[tuple[int, bool]], item: int
) -> None:
    plan = laid_out(fans)
    rows = range(item * plan.width(0), (item + 1) * plan.width(0))
    for stage in range(1, len(plan.steps)):
        units = sorted({plan.unit(stage, row) for row in rows})
        assert [row for unit in units for row in plan.parents(stage, unit)] == [*rows]
        rows = range(plan.children(stage, units[0])[0], plan.children(stage, units[-1])[-1] + 1)
        assert {plan.item(stage, row) for row in rows} == {item}
        assert len(rows) == plan.width(stage)


def test_an_id_says_where_a_row_stands() -> None:
    assert place_of(f"{job_of('chain_1a', 12)}-7") == ("chain_1a", 12, 7)


def test_seeds_of_stages_and_twins_are_apart() -> None:
    seeds = {child_seed(7, stage, twin) for stage in range(8) for twin in range(64)}
    assert len(seeds) == 512
    assert all(0 <= seed < 2**48 and int(float(seed)) == seed for seed in seeds)


def test_the_first_of_equals_is_best_and_what_has_no_score_is_not() -> None:
    assert best_of([None, 0.5, 0.5, -1.0]) == 1
    assert best_of([None]) is None


def test_every_kind_says_by_example_what_it_gives() -> None:
    assert all(sample(kind, {}) for kind in KINDS)


def test_kinds_alone_take_what_the_stage_before_gives() -> None:
    caption = Stage("image-to-text", model="c")
    plan = plan_of(Stage("text-to-image", model="d"), caption, Stage("text-generation", model="t"))
    assert [step.params for step in plan.steps[1:]] == [{"image": "{image}"}, {"prompt": "{text}"}]
    assert Plan.from_json(plan.to_json()) == plan
    try_out(plan, {"prompt": "x"}, {}, only_inputs=False)


def test_best_closes_the_nearest_fan() -> None:
    plan = plan_of(drill(times=2), drill(times=3), Best("score"), drill(), Best("score"))
    assert [plan.width(stage) for stage in range(5)] == [2, 6, 2, 2, 1]
    assert [step.name for step in plan.steps] == ["drill", "drill-2", "best", "drill-3", "best-2"]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "0 stages"),
        ([drill(), drill(text="{label}")], r"stage 2 \(drill-2\).*gives no label; it gives answer"),
        ([drill(), drill(text="{drill}")], "is a whole stage; say what of it"),
        ([drill(), drill(seconds="{text}")], "seconds: input should be a valid number"),
        ([drill(), drill(txt="a")], "txt is not a parameter of drill"),
        ([drill(), drill(text="{input.style}")], "there is no {input.style}"),
        ([drill(), Stage("text-generation", model="t", stop=["{label}"])], "gives no label"),
        ([drill(text="{")], r"stage 1 \(drill\): a lone '{'"),
        ([drill(), Best("score")], "nothing to choose from"),
        ([drill(times=2), Best("text")], "is a str; expected the path of a number"),
        ([drill(times=9), drill(times=9)], "81 rows for each item"),
        ([drill(name="text")], "none of the words that templates know"),
        ([drill(name="a"), drill(name="a")], "two stages are named 'a'"),
        ([drill(times=0)], "times=0: expected a whole number"),
    ],
)
def test_what_cannot_work_is_refused_by_its_stage(stages: list[Stage | Best], said: str) -> None:
    with pytest.raises(InvalidTask, match=said):
        try_out(plan_of(*stages), {"text": "x"}, {"text": "x"}, only_inputs=False)


def test_a_twin_takes_its_own_of_several() -> None:
    plan = plan_of(drill(), drill(text="{texts[k]} by {k}", times=2))
    seen = {0: {"texts": ["a", "b"]}}
    texts = [Sight(plan, 1, seen, None, twin).params(3).model_dump()["text"] for twin in (0, 1)]
    assert texts == ["a by 0", "b by 1"]
