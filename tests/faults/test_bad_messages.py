"""Whatever is in a farm's lists, no message ends a worker or touches a row that is not its own."""

from collections import Counter

import pytest
import redis

from genfarm_shared.forms import WORTH
from genfarm_shared.messages import Refused, open_message, read_hint
from genfarm_shared.queue import PREFIX, list_key
from genfarm_shared.tasks import Hint, State
from tests.faults.bad_messages import BAD, GOOD_BODY, forge, forge_with_id_first
from tests.waiting import until
from tests.yard import Yard


def test_no_message_ends_a_worker_and_each_bad_one_is_kept(yard: Yard, broker_url: str) -> None:
    """One is at the head of the queue before the worker starts; tasks lie among them. Some are
    good ones, of a task whose id is a word of the message."""
    key, wanted = list_key("sleep", 0), Counter(reason for _, reason in BAD.values())
    with redis.Redis.from_url(broker_url) as client:
        first = yard.submit("sleep", *[0.0] * 10)
        client.rpush(key, BAD["body is an object"][0])
        worker = yard.start_worker("sleep")
        for name, (raw, _) in BAD.items():
            if name != "body is an object":
                client.lpush(key, raw)
        client.lpush(key, *[forge_with_id_first("id")] * 2 * WORTH)
        second = yard.submit("sleep", *[0.0] * 10)
        until(lambda: yard.finished(first) and yard.finished(second))
        until(lambda: len(yard.store.list_letters(100)) >= len(BAD))
        until(lambda: not client.hlen(f"{PREFIX}unacked.{worker.id}"))
        assert client.llen(key) == 0
    assert Counter(letter.reason for letter in yard.store.list_letters(100)) == wanted
    assert yard.states(first) == yard.states(second) == {State.SUCCEEDED: 10}
    assert [(w.id, w.pid) for w in yard.store.list_workers()] == [(worker.id, worker.pid)]


def test_forged_and_doubled_messages_change_no_row_but_their_own(
    yard: Yard, broker_url: str
) -> None:
    """Of tasks that exist under another model or key, of ended ones, of ones that never were."""
    sleeps, floats = yard.submit("sleep", *[0.2] * 5), yard.submit("batch-floats", [1.0])
    forged = [  # the most urgent, so that they come before the true ones
        *[Hint(f"{sleeps}-000001", "sleep", "sleep", "sleep", 1, 9)] * 3,
        Hint(f"{sleeps}-000003", "batch-floats", "floats", "floats", 1, 9),
        Hint(f"{sleeps}-000004", "sleep", "sleep", "alone:of-nobody", 1, 9),
        Hint(f"{floats}-000000", "nonsense", "sleep", "another key", 10**6, 9),
        Hint("never-000000", "sleep", "sleep", "sleep", 1, 9),
    ]
    yard.broker.publish(forged)
    worker = yard.start_worker("sleep,floats")
    until(lambda: yard.finished(sleeps) and yard.finished(floats))
    yard.broker.publish([Hint(f"{sleeps}-000000", "sleep", "sleep", "sleep", 1)])
    with redis.Redis.from_url(broker_url) as client:
        until(lambda: not client.exists(list_key("sleep", 0), f"{PREFIX}unacked.{worker.id}"))
    assert yard.states(sleeps) == {State.SUCCEEDED: 5}
    assert yard.states(floats) == {State.SUCCEEDED: 1}
    assert yard.store.count_results([sleeps, floats]) == 6
    assert yard.store.list_letters(10) == []
    assert yard.store.list_workers()[0].pid == worker.pid


@pytest.mark.parametrize("name", [name for name in BAD if name != "unknown model"])
def test_a_bad_message_is_refused_for_its_own_reason(name: str) -> None:
    raw, reason = BAD[name]
    with pytest.raises(Refused) as refused:
        read_hint(open_message(raw))
    assert refused.value.reason == reason


def test_a_message_of_the_farm_is_read() -> None:
    assert read_hint(open_message(forge())) == read_hint(open_message(forge(GOOD_BODY)))
