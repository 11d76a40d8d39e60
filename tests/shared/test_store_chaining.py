"""Chains in the store: what comes of ended rows, once, whoever writes it and whatever fails."""

import itertools
import threading
from typing import Any

import pytest

from genfarm.audit import judge
from genfarm_shared.advancing import LOOKED_AFTER, SWEPT, Advancer
from genfarm_shared.chains import CUT_OFF, UNFIT, WITHDRAWN, ChainRecord, Plan, Step
from genfarm_shared.errors import JobConflict
from genfarm_shared.kinds import check_params, encode_params, find_kind
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store
from genfarm_shared.store.chaining import Standing
from genfarm_shared.tasks import Failure, JobRecord, Outcome, State, Task, TaskRecord
from tests.shared.farmyard import add_worker

_numbers = itertools.count()
SAY = Step("say", "drill", "drill", {"text": "{input}", "aloud": True})
ECHO = Step("echo", "drill", "drill", {"text": "{text} of {say.params.text}", "aloud": True})


@pytest.fixture
def advancer(store: Store, broker_url: str) -> Advancer:
    add_worker(store)
    return Advancer(store, Broker(broker_url), 1000)


def begin(store: Store, *steps: Step, items: int = 3) -> ChainRecord:
    """A chain whose first stage is written."""
    chain = ChainRecord(f"chain_{next(_numbers):06}", Plan(steps).to_json(), 1.0)
    store.open_chain(chain)
    for step, job_id in zip(steps, chain.job_ids, strict=True):
        store.open_job(JobRecord(job_id, step.kind, step.model, {}, 1.0, released=True))
    rows = items * chain.plan.width(0)
    store.insert([first_task(chain, index) for index in range(rows)])
    store.seal(chain.job_ids[0], rows)
    store.seal_stages(chain)
    return chain


def first_task(chain: ChainRecord, index: int) -> Task:
    step, job_id = chain.plan.steps[0], chain.job_ids[0]
    values = {"text": f"item {index}", "aloud": True, "seed": index}
    params = encode_params(check_params(find_kind("drill"), values))
    suffix = f".{index % step.times}" if step.times > 1 else ""
    name = f"{index // step.times:06d}{suffix}"
    return Task(
        f"{job_id}-{index}", job_id, index, name, "drill", "drill", "drill", 1, params, index
    )


def work(store: Store, chain: ChainRecord, stage: int, **fates: Any) -> list[str]:
    """Run every open task of a stage, as a worker that dies before anything goes on. `fates`
    gives the score of each index, None for a failure."""
    ids = [r.id for r in rows(store, chain, stage) if not r.state.is_terminal]
    outcomes = []
    for claim in store.claim(ids, "w1"):
        score = fates.get(f"i{claim.task_id.rpartition('-')[2]}", 0.5)
        output = {"texts": [f"<{claim.params['text']}>"], "score": score}
        failure = Failure("internal", "it broke") if score is None else None
        outcomes.append(Outcome(claim.task_id, claim.attempt, output, failure=failure))
    store.commit(outcomes, "w1", max_attempts=3)
    return ids


def rows(store: Store, chain: ChainRecord, stage: int) -> list[TaskRecord]:
    return store.read_after(chain.job_ids[stage], -1, 1000)


def states(store: Store, chain: ChainRecord) -> list[dict[State, int]]:
    counts = store.count(chain.job_ids)
    return [counts[job_id] for job_id in chain.job_ids]


def sound_books(store: Store, chain: ChainRecord) -> bool:
    entries = [e for job_id in chain.job_ids for e in store.read_entries(job_id, -1, 1000)]
    return not [breach for entry in entries for breach in judge(entry, 3)]


def test_an_ended_task_goes_on_as_its_templates_say(store: Store, advancer: Advancer) -> None:
    chain = begin(store, SAY, ECHO)
    assert advancer.advance(work(store, chain, 0)) == 3
    found = rows(store, chain, 1)
    assert [r.params["text"] for r in found] == [f"<item {i}> of item {i}" for i in range(3)]
    assert [r.custom_id for r in found] == ["000000", "000001", "000002"]
    assert len({r.seed for r in found}) == 3
    assert all(r.state is State.QUEUED for r in found)


def test_what_a_crash_left_between_two_stages_goes_on(store: Store, advancer: Advancer) -> None:
    chain = begin(store, SAY, ECHO, ECHO)
    work(store, chain, 0)
    advancer.sweep()
    work(store, chain, 1)
    advancer.sweep()
    advancer.sweep()
    assert states(store, chain)[2] == {State.QUEUED: 3}


def test_two_who_advance_at_once_write_each_row_once(
    store: Store, advancer: Advancer, broker_url: str
) -> None:
    chain = begin(store, SAY, Step("twice", "drill", "drill", {"text": "{text}"}, times=2))
    ended = work(store, chain, 0)
    others = [Advancer(store, Broker(broker_url), 1000) for _ in range(3)]
    threads = [threading.Thread(target=other.advance, args=(ended,)) for other in others]
    for thread in threads:
        thread.start()
    advancer.advance(ended)
    for thread in threads:
        thread.join()
    work(store, chain, 1)
    assert [r.custom_id for r in rows(store, chain, 1)][:3] == ["000000.0", "000000.1", "000001.0"]
    assert states(store, chain)[1] == {State.SUCCEEDED: 6}
    assert sound_books(store, chain)


def test_what_comes_after_a_failed_stage_ends_with_the_reason(
    store: Store, advancer: Advancer
) -> None:
    chain = begin(store, SAY, ECHO, ECHO)
    advancer.advance(work(store, chain, 0, i1=None))
    last = rows(store, chain, 2)
    assert [(r.index, r.state, r.reason_code) for r in last] == [(1, State.CANCELLED, CUT_OFF)]
    assert last[0].reason == f"stage 1 (say) failed: task {chain.id}.0-1"
    advancer.advance(work(store, chain, 1))
    work(store, chain, 2)
    assert store.look_over(chain) is Standing.ENDED
    assert sound_books(store, chain)


def test_a_retry_of_the_failed_stage_revives_what_it_cut_off(
    store: Store, advancer: Advancer
) -> None:
    chain = begin(store, SAY, ECHO, ECHO)
    advancer.advance(work(store, chain, 0, i1=None))
    advancer.advance(work(store, chain, 1))
    work(store, chain, 2)
    assert store.look_over(chain) is Standing.ENDED
    assert store.retry(chain.job_ids[0], {State.FAILED}) == 1
    assert store.look_over(chain) is Standing.GOING
    assert store.find_chain(chain.id).ended_at is None
    for stage in range(3):
        advancer.advance(work(store, chain, stage))
    assert states(store, chain) == [{State.SUCCEEDED: 3}] * 3
    assert sound_books(store, chain)


def test_a_row_that_was_cut_off_is_no_task_to_retry(store: Store, advancer: Advancer) -> None:
    chain = begin(store, SAY, ECHO)
    advancer.advance(work(store, chain, 0, i1=None))
    assert store.retry(chain.job_ids[1], set(State)) == 0


def test_an_end_that_a_retry_overtakes_is_not_written(store: Store, advancer: Advancer) -> None:
    """The parent was seen failed, and runs again by the time its child would be cut off."""
    chain = begin(store, SAY, ECHO)
    ended = work(store, chain, 0, i1=None)
    conclude = store.conclude

    def late(ends: Any) -> list[str]:
        store.retry(chain.job_ids[0], {State.FAILED})
        return conclude(ends)

    store.conclude = late  # type: ignore[method-assign]
    advancer.advance(ended)
    assert [r.index for r in rows(store, chain, 1)] == [0, 2]


def test_the_best_of_its_rivals_goes_on_alone(store: Store, advancer: Advancer) -> None:
    best = Step("best", "drill", "drill", fold=3, by="score")
    fan = Step("say", "drill", "drill", {"text": "{input}", "aloud": True}, times=3)
    chain = begin(store, fan, best, ECHO, items=2)
    fates = {"i0": 0.1, "i1": 0.9, "i2": 0.9, "i3": None, "i4": 0.2}
    advancer.advance(work(store, chain, 0, **fates))
    chosen = rows(store, chain, 1)
    assert [r.metrics["chosen"] for r in chosen] == [1, 2]
    assert chosen[1].metrics["scores"] == [None, 0.2, 0.5]
    assert [r.custom_id for r in chosen] == ["000000", "000001"]
    work(store, chain, 2)
    assert [r.params["text"] for r in rows(store, chain, 2)] == [
        "<item 1> of item 1",
        "<item 5> of item 5",
    ]
    assert store.look_over(chain) is Standing.ENDED
    assert sound_books(store, chain)


def test_rivals_wait_for_the_last_of_them(store: Store, advancer: Advancer) -> None:
    fan = Step("say", "drill", "drill", {"text": "{input}"}, times=2)
    chain = begin(store, fan, Step("best", "drill", "drill", fold=2, by="score"), items=1)
    claims = store.claim([f"{chain.id}.0-0"], "w1")
    store.commit([Outcome(claims[0].task_id, 1, {"score": 1.0})], "w1", max_attempts=3)
    assert advancer.advance([claims[0].task_id]) == 0
    work(store, chain, 0)
    advancer.sweep()
    assert [r.metrics["chosen"] for r in rows(store, chain, 1)] == [0]


def test_what_does_not_fit_fails_with_the_reason_and_no_prompt(
    store: Store, advancer: Advancer
) -> None:
    long = Step("sleep", "sleep", "sleep", {"seconds": "{score}"})
    chain = begin(store, SAY, long, SAY)
    advancer.advance(work(store, chain, 0, i1=9999.0, i2="no number"))
    good, *bad = rows(store, chain, 1)
    assert good.params["seconds"] == 0.5
    assert [(r.state, r.reason_code) for r in bad] == [(State.FAILED, UNFIT)] * 2
    assert all(r.reason and "seconds" in r.reason and "no number" not in r.reason for r in bad)
    assert len(rows(store, chain, 2)) == 2
    assert store.retry(chain.job_ids[1], {State.FAILED}) == 0


def test_a_withdrawn_chain_ends_whole_and_a_later_word_reopens_it(
    store: Store, advancer: Advancer
) -> None:
    chain = begin(store, SAY, ECHO, ECHO)
    work(store, chain, 0)
    store.withdraw_chain(chain.id)
    for _ in range(2):
        advancer.sweep()
    assert states(store, chain) == [{State.SUCCEEDED: 3}, *[{State.CANCELLED: 3}] * 2]
    assert store.find_chain(chain.id).ended_at is not None
    store.reopen_chain(chain)
    advancer.sweep()
    assert states(store, chain)[1] == {State.QUEUED: 3}
    assert sound_books(store, chain) is False  # they are open, and nothing else is wrong
    for stage in (1, 2):
        advancer.advance(work(store, chain, stage))
    assert states(store, chain) == [{State.SUCCEEDED: 3}] * 3
    assert sound_books(store, chain)


def test_a_task_cancelled_by_somebody_cuts_its_item_off(store: Store, advancer: Advancer) -> None:
    chain = begin(store, SAY, ECHO)
    store.cancel(chain.job_ids[0], [f"{chain.job_ids[0]}-2"])
    advancer.sweep()
    assert [(r.index, r.reason_code) for r in rows(store, chain, 1)] == [(2, CUT_OFF)]


@pytest.mark.parametrize("score", [0.5, None])
def test_a_removed_stage_ends_its_chain_and_no_worker(
    store: Store, advancer: Advancer, score: float | None
) -> None:
    chain = begin(store, SAY, ECHO)
    store.remove(chain.job_ids[1])
    work(store, chain, 0, i0=score, i1=score, i2=score)
    advancer.sweep()
    assert store.open_chains("", 10) == []


@pytest.mark.timeout(30)
def test_a_stage_closed_half_written_is_refused_and_not_waited_for(store: Store) -> None:
    job = JobRecord("chain_half.0", "drill", "drill", {}, 1.0, identity="chain_half.0")
    store.open_job(job)
    store.cancel(job.id)
    with pytest.raises(JobConflict, match=r"chain_half\.0 was cancelled before its last input"):
        store.open_job(job)


def test_a_sweep_without_time_goes_on_where_the_last_broke_off(
    store: Store, advancer: Advancer
) -> None:
    items = 2 * SWEPT + 1
    chain, other = begin(store, SAY, ECHO, ECHO, items=items), begin(store, SAY, ECHO, items=1)
    store.cancel(chain.job_ids[0])
    work(store, other, 0)
    advancer.sweep(0.0)
    assert len(rows(store, chain, 1)) == SWEPT
    assert rows(store, chain, 2) == rows(store, other, 1) == []
    advancer.sweep(0.0)
    assert len(rows(store, other, 1)) == 1
    for _ in range(12):
        advancer.sweep(0.0)
    assert states(store, chain) == [{State.CANCELLED: items}] * 3
    assert store.find_chain(chain.id).ended_at is not None
    assert sound_books(store, chain)


def test_chains_take_turns_however_many_there_are(store: Store, advancer: Advancer) -> None:
    chains = [begin(store, SAY, ECHO, items=1) for _ in range(LOOKED_AFTER + 2)]
    for chain in chains:
        work(store, chain, 0)
    for _ in range(2):
        advancer.sweep()
    assert [len(rows(store, chain, 1)) for chain in chains] == [1] * len(chains)


def test_a_retry_of_failures_leaves_a_withdrawn_chain_withdrawn(
    store: Store, advancer: Advancer
) -> None:
    chain = begin(store, SAY, ECHO, ECHO, items=4)
    store.cancel(chain.job_ids[0], [f"{chain.id}.0-3"])
    work(store, chain, 0, i1=None)
    store.withdraw_chain(chain.id)
    for _ in range(3):
        advancer.sweep()
    codes = [CUT_OFF if r.index in (1, 3) else WITHDRAWN for r in rows(store, chain, 1)]
    assert [r.reason_code for r in rows(store, chain, 1)] == codes
    assert {r.reason_code for r in rows(store, chain, 2)} == {CUT_OFF}
    assert store.retry(chain.job_ids[0], {State.FAILED}) == 1
    assert [r.index for r in rows(store, chain, 2)].count(1) == 0
    advancer.sweep()
    assert len(work(store, chain, 0)) == 1
    for _ in range(3):
        advancer.sweep()
    assert states(store, chain)[1:] == [{State.CANCELLED: 4}] * 2
    assert store.find_chain(chain.id).ended_at is not None
    store.reopen_chain(chain)
    for stage in range(3):
        advancer.sweep()
        work(store, chain, stage)
    assert states(store, chain)[2] == {State.SUCCEEDED: 3, State.CANCELLED: 1}
    assert sound_books(store, chain)


def test_a_best_that_found_nothing_chooses_anew_after_a_retry(
    store: Store, advancer: Advancer
) -> None:
    fan = Step("say", "drill", "drill", {"text": "{input}", "aloud": True}, times=2)
    chain = begin(store, fan, Step("best", "drill", "drill", fold=2, by="score"), ECHO, items=1)
    advancer.advance(work(store, chain, 0, i0="no number", i1=None))
    assert [r.reason_code for s in (1, 2) for r in rows(store, chain, s)] == [UNFIT, CUT_OFF]
    assert store.retry(chain.job_ids[0], {State.FAILED}) == 1
    advancer.advance(work(store, chain, 0))
    assert [r.metrics["chosen"] for r in rows(store, chain, 1)] == [1]
    work(store, chain, 2)
    assert store.look_over(chain) is Standing.ENDED
    assert sound_books(store, chain)


def test_a_removed_chain_leaves_nothing_of_what_was_asked(store: Store, advancer: Advancer) -> None:
    chain, other = begin(store, SAY, ECHO), begin(store, SAY, ECHO, items=1)
    for one in (chain, other):
        store.insert_inputs(one.id, {0: "a prompt"})
        advancer.advance(work(store, one, 0))
        work(store, one, 1)
    store.remove_chain(chain)
    advancer.sweep()
    assert store.read_inputs(chain.id, [0]) == {}
    assert rows(store, chain, 0) == rows(store, chain, 1) == []
    assert [left.id for left in store.list_chains(10)] == [other.id]
    assert [len(rows(store, other, stage)) for stage in (0, 1)] == [1, 1]
    assert store.read_inputs(other.id, [0]) == {0: "a prompt"}
