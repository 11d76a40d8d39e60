"""Outputs are generated until they pass: round by round, found again, and with an end."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from genfarm import Accept, Farm, InvalidTask, ItemFailed, ItemTimeout, JobConflict, Result
from genfarm.acceptance import Acceptance
from genfarm.rounds import reseed
from genfarm_shared.seeds import SEED_BITS

from .tiny_worker import TinyWorker

DIGITS = [f"the digit {digit}" for digit in range(10)]


def even_seed(result: Result) -> bool:
    return result.seed % 2 == 0


def accepted(found: Acceptance) -> dict[str, int]:
    """The seeds of what was accepted, by custom_id."""
    return {result.custom_id: result.seed for result in found.results(errors="skip")}


def test_every_input_gets_an_output_that_passes(farm: Farm, busy: TinyWorker) -> None:
    found = farm.submit_many("gen", ["a", "b", "c", "d"], accept=Accept(check=even_seed, tries=20))
    results = list(found)
    assert [result.input for result in results] == ["a", "b", "c", "d"]
    assert [result.index for result in results] == [0, 1, 2, 3]
    assert all(result.seed % 2 == 0 for result in results)
    # The first round is the plain job; only what it lacks is asked for again.
    assert [results[0].seed, results[2].seed] == [0, 2]
    assert [len(job) for job in found.jobs[:2]] == [4, 2]
    assert found.curve[:4] == [1, 1, 2, 2]
    assert found.curve[-1] == 4
    assert len(found.curve) == len(found.trials)


def test_what_runs_out_of_tries_says_which_gate_refused_it(farm: Farm, busy: TinyWorker) -> None:
    accept = Accept(check=lambda result: result.input != "b", tries=3)
    found = farm.submit_many("gen", ["a", "b"], name="mine", accept=accept)
    kept, refused = found.results()
    assert kept.ok
    assert isinstance(refused.error, ItemFailed)
    assert (refused.error.code, refused.error.attempts) == ("not_accepted", 3)
    assert "none of 3 outputs of input 000001 of mine" in str(refused.error)
    assert "refused by check 3x" in str(refused.error)
    with pytest.raises(ItemFailed):
        list(found)
    assert repr(found).startswith("Acceptance mine  1 of 2 accepted, 4 outputs in 3 rounds")
    assert [job.name for job in found.jobs] == ["mine", "mine~2", "mine~3"]


@pytest.mark.parametrize("name", ["mine", None])
def test_the_same_call_finds_its_rounds_and_goes_on(
    farm: Farm, worker: TinyWorker, name: str | None
) -> None:
    accept = Accept(check=even_seed, tries=12)

    def call() -> Acceptance:
        return farm.submit_many("gen", list("abcdefgh"), name=name, accept=accept)

    first = call()  # its client dies after the first round
    worker.work()
    with pytest.raises(ItemTimeout):
        first.wait(0.3)
    again = call()
    for _ in range(12):
        worker.work()
        if again.is_done:
            break
        with suppress(ItemTimeout):
            again.wait(0.1)
    runs = dict(worker.runs)
    assert len(accepted(again)) == 8
    assert accepted(call()) == accepted(again)
    assert worker.runs == runs
    assert set(runs.values()) == {1}


def test_other_gates_under_the_same_name_are_told_from_the_same(
    farm: Farm, busy: TinyWorker
) -> None:
    farm.submit_many("gen", ["a", "b"], name="mine", accept=Accept(check=even_seed)).wait(20)
    odd = Accept(check=lambda result: result.seed % 2 == 1)
    with pytest.raises(JobConflict, match="mine~2"):
        farm.submit_many("gen", ["a", "b"], name="mine", accept=odd).wait(20)


def test_a_classifier_on_the_farm_says_what_a_picture_shows(farm: Farm, busy: TinyWorker) -> None:
    accept = Accept(label_from="prompt", at_least=0.8, tries=60)
    found = farm.submit_many("image", DIGITS[:3], name="drawn", accept=accept)
    for digit, result in enumerate(found):
        red = result.seed % 256
        assert red % 4 == digit
        assert red >= 64
    assert farm.job("drawn~1.labels").kind == "image-classification"
    refusals = {trial.refusal.reason for trial in found.trials if trial.refusal}
    assert any(reason.endswith("below 0.8") for reason in refusals)


def test_a_label_may_come_from_a_function_of_the_result(farm: Farm, busy: TinyWorker) -> None:
    wanted: Callable[[Result], str] = lambda result: "3"  # noqa: E731
    found = farm.submit_many("image", ["x"], accept=Accept(label_from=wanted, tries=60))
    assert [result.seed % 256 % 4 for result in found] == [3]


def test_a_classification_that_fails_refuses_its_output_alone(farm: Farm, busy: TinyWorker) -> None:
    busy.cannot_see = 1
    accept = Accept(classifier="reds", at_least=0.0, tries=3)
    found = farm.submit_many("image", DIGITS[:3], accept=accept)
    assert all(result.ok for result in found.results())
    (refusal,) = [trial.refusal for trial in found.trials if trial.refusal]
    assert refusal.gate == "label"
    assert refusal.reason.startswith("the classifier failed: ")
    assert "too dark" in refusal.reason


def test_enough_is_enough_and_few_inputs_are_used_again(farm: Farm, busy: TinyWorker) -> None:
    found = farm.submit_many("gen", ["a", "b"], accept=Accept(n=5, check=even_seed, tries=9))
    assert [result.input for result in found] == ["a", "b", "a", "b", "a"]
    assert len({result.seed for result in found}) == 5
    some = farm.submit_many("gen", list("abcdef"), accept=Accept(n=2, check=even_seed))
    assert [result.input for result in some] == ["a", "c"]
    assert some.curve == [1, 1, 2]
    ids = [{"prompt": "a", "custom_id": "mine", "seed": 4}]
    own = list(farm.submit_many("gen", ids, accept=Accept(n=2)))
    assert [result.custom_id for result in own] == ["mine", "mine~2"]
    assert own[0].seed == 4 != own[1].seed


def test_what_repeats_an_accepted_output_is_refused(farm: Farm, busy: TinyWorker) -> None:
    prompts = ["a sleepy old fox ran home", "A sleepy old fox ran HOME!", "a hen"]
    inputs = [{"prompt": prompt, "seed": 1} for prompt in prompts]
    alike = Accept(distinct=0.5, tries=2)  # of five shingles a seed changes two
    found = farm.submit_many("gen", inputs, accept=alike)
    assert [result.ok for result in found.results()] == [True, False, True]
    assert {t.refusal.gate for t in found.trials if t.refusal} == {"duplicate"}
    assert "100% like that of 000000" in str(found.trials[1].refusal)


def test_a_filtered_task_is_tried_again_and_a_failed_one_is_not(
    farm: Farm, busy: TinyWorker
) -> None:
    found = farm.submit_many("gen", ["rude", "bad", "a"], accept=Accept(tries=3))
    rude, bad, kept = found.results()
    assert rude.error is not None
    assert "refused by review 3x" in str(rude.error)
    assert bad.error is not None
    assert bad.error.code == "invalid_params"
    assert kept.ok
    assert [len(job) for job in found.jobs] == [3, 1, 1]


def test_a_verdict_of_the_review_that_is_no_pass_refuses(farm: Farm, busy: TinyWorker) -> None:
    busy.metrics = {"review": {"verdict": "flag"}}
    found = farm.submit_many("gen", ["a"], accept=Accept(tries=2)).wait(20)
    assert [trial.refusal.reason for trial in found.trials if trial.refusal] == [
        "its verdict is flag"
    ] * 2
    busy.metrics = {"review": {"verdict": "pass"}}
    assert next(farm.submit_many("gen", ["b"], accept=Accept()).results()).ok


def test_gates_that_cannot_be_are_refused_before_anything_runs(
    farm: Farm, worker: TinyWorker
) -> None:
    for said, accept in (
        ("label_from='colour' is not a parameter", {"label_from": "colour"}),
        ("unknown model 'nobody'", {"classifier": "nobody"}),
        ("tries=0: expected 1 to 100", {"tries": 0}),
        ("distinct=0: expected above 0", {"distinct": 0}),
        ("n=0: expected 1 or more", {"n": 0}),
    ):
        with pytest.raises(InvalidTask, match=said):
            farm.submit_many("image", ["a"], accept=Accept(**accept))
    for kind in ("text-to-audio", "text-to-video"):
        for gate in (Accept(classifier="reds"), Accept(distinct=0.9)):
            with pytest.raises(InvalidTask, match=f"{kind} makes neither"):
                farm.submit_many(kind, ["a"], accept=gate)
    with pytest.raises(InvalidTask, match="no input to generate from"):
        farm.submit_many("image", [], accept=Accept())
    with pytest.raises(InvalidTask, match="1 to 200 printable"):
        farm.submit_many("image", ["a"], name="x" * 199, accept=Accept())
    assert farm.jobs() == []


def test_a_seed_of_a_later_round_follows_from_the_first_and_is_exact_as_a_float() -> None:
    seeds = [reseed(7, number) for number in range(1, 200)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 199
    assert all(0 <= seed < 2**SEED_BITS and int(float(seed)) == seed for seed in seeds)
    # Another rule would not find the rounds of calls made before it.
    assert seeds[1] == 155643767259508


def test_a_result_with_nothing_to_look_at_passes_no_gate_that_looks(
    farm: Farm, busy: TinyWorker
) -> None:
    busy.moves = True
    for gate in (Accept(label_from="prompt", tries=2), Accept(distinct=0.9, tries=2)):
        found = farm.submit_many("image", DIGITS[:1], accept=gate).wait(20)
        reasons = [trial.refusal.reason for trial in found.trials if trial.refusal]
        assert reasons == ["it has no text and no still picture to look at"] * 2


def test_the_curve_is_drawn_with_its_rounds(farm: Farm, busy: TinyWorker) -> None:
    found = farm.submit_many("gen", list("abcd"), name="mine", accept=Accept(check=even_seed))
    drawn = found.wait(20).show()._repr_svg_()
    assert "mine: " in drawn
    assert "round 1" in drawn
    assert "outputs generated" in drawn
