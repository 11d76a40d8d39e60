"""Dead letters on the command line: seen, put back where a worker could use them, deleted."""

import json

import pytest

from genfarm import local
from genfarm_shared.messages import Letter, write_message
from genfarm_shared.queue import Broker
from genfarm_shared.store import Store
from genfarm_shared.tasks import Hint
from tests.waiting import until

from .conftest import Genfarm


@pytest.fixture
def letters(at_farm: local.RunningFarm) -> list[int]:
    """Ids: one that a worker can use by now, one of a model nobody serves, one of nonsense."""
    good, other = (
        write_message(Hint("never-000000", "sleep", model, "k", 1)).encode()
        for model in ("sleep", "gone")
    )
    store = Store(at_farm.store)
    store.purge_letters()
    store.bury([Letter("model.sleep", "unknown_model", raw, len(raw)) for raw in (good, other)])
    store.bury([Letter("model.sleep", "not_json", b"\x1b[2J\x00", 5)])
    found = [letter.id for letter in store.list_letters(3)]
    store.close()
    return found[::-1]


def test_letters_are_listed_and_shown_escaped(genfarm: Genfarm, letters: list[int]) -> None:
    records = json.loads(genfarm("deadletters", "ls", "--json").out)
    assert [record["id"] for record in records] == letters[::-1]
    assert (records[0]["reason"], records[0]["size"]) == ("not_json", 5)
    assert "body" not in records[0]
    for said in (genfarm("deadletters", "ls"), genfarm("deadletters", "show", letters[2])):
        assert r"\x1b[2J\x00" in said.out
        assert "\x1b" not in said.out


def test_what_a_worker_can_use_by_now_goes_back_and_the_rest_says_why_not(
    genfarm: Genfarm, letters: list[int], at_farm: local.RunningFarm
) -> None:
    said = genfarm("deadletters", "replay", "--all", "--json")
    refused = [
        {"id": letters[1], "reason": "unknown_model"},
        {"id": letters[2], "reason": "not_json"},
    ]
    assert said.code == 2
    assert json.loads(said.out) == {"replayed": letters[:1], "refused": refused}
    assert "not_json" in genfarm("deadletters", "replay", letters[2]).err
    again = json.loads(genfarm("deadletters", "replay", "--all", "--json").out)
    assert again["replayed"] == []
    until(lambda: "never-000000" not in Broker(at_farm.broker).task_ids())
    records = json.loads(genfarm("deadletters", "ls", "--json").out)
    assert [record["replayed_at"] is None for record in records] == [True, True, False]


def test_purge_deletes_what_is_old_or_all(genfarm: Genfarm, letters: list[int]) -> None:
    old = json.loads(genfarm("deadletters", "purge", "--older", "7d", "--json").out)
    assert old == {"purged": 0}
    assert "3 dead letters" in genfarm("deadletters", "purge", "--all").err
    assert json.loads(genfarm("deadletters", "ls", "--json").out) == []
    said = genfarm("deadletters", "ls")
    assert (said.out, said.err) == ("", "none\n")
    said = genfarm("deadletters", "show", letters[0])
    assert (said.code, "deadletters ls" in said.err) == (4, True)


@pytest.mark.parametrize("command", ["replay", "replay 1 --all", "purge", "purge --older 7"])
def test_a_choice_that_is_not_clear_is_wrong_usage(genfarm: Genfarm, command: str) -> None:
    assert genfarm("deadletters", *command.split()).code == 2
