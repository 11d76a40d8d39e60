"""A chain whose workers and client die half-way: every stage of every item once, and right."""

import os
import signal
from collections.abc import Sequence

from genfarm import Farm, Stage
from genfarm.chain import Chain
from genfarm_shared.chains import child_seed
from genfarm_shared.drill import answer
from genfarm_shared.tasks import State
from tests.waiting import until
from tests.yard import Yard

STAGES = [
    Stage("drill", name="first", model="drill", seconds=0.02),
    Stage("drill", name="second", model="drill", text="{answer} of {input}"),
    Stage("drill", name="third", model="drill", text="{answer} of {first.answer}"),
]


def begin(yard: Yard, items: Sequence[str]) -> Chain:
    """A chain whose client is gone as soon as the call has returned."""
    with Farm(yard.settings.store_url, yard.settings.broker, progress=False) as farm:
        return farm.chain(STAGES, items)


def right_answer(index: int, item: str) -> str:
    """What the third stage must say, by the plain way."""
    seeds = [index, child_seed(index, 1, 0)]
    seeds.append(child_seed(seeds[1], 2, 0))
    first = answer(seeds[0], item)
    second = answer(seeds[1], f"{first} of {item}")
    return answer(seeds[2], f"{second} of {first}")


def ended(yard: Yard, chain: Chain) -> int:
    return yard.states(chain._record.job_ids[-1]).get(State.SUCCEEDED, 0)


def test_a_killed_worker_loses_and_doubles_no_stage_of_any_item(yard: Yard) -> None:
    items = 200
    victim = yard.start_worker("drill")
    texts = [f"item {number}" for number in range(items)]
    chain = begin(yard, texts)
    until(lambda: ended(yard, chain) >= items // 4)
    os.kill(victim.pid, signal.SIGKILL)
    assert ended(yard, chain) < items
    yard.start_worker("drill")
    until(lambda: yard.store.find_chain(chain.id).ended_at is not None)
    job_ids = chain._record.job_ids
    assert [yard.states(job_id) for job_id in job_ids] == [{State.SUCCEEDED: items}] * 3
    assert yard.store.count_results(job_ids) == 3 * items
    assert yard.store.count_attempts(job_ids)["succeeded"] == 3 * items
    for record in yard.store.read_after(job_ids[-1], -1, items):
        assert record.output == {"answer": right_answer(record.index, texts[record.index])}
