"""Models share the device by time, not by steps."""

from genfarm_workers.turns import Turns


def run(turns: Turns, cost: dict[str, float], seconds: float) -> dict[str, float]:
    """Let every model want the device until `seconds` are used; returns what each had."""
    had = dict.fromkeys(cost, 0.0)
    while sum(had.values()) < seconds:
        model = turns.pick(list(cost))
        turns.charge(model, cost[model])
        had[model] += cost[model]
    return had


def test_a_model_of_short_steps_gets_as_much_time_as_one_of_long_steps() -> None:
    had = run(Turns(), {"text": 0.01, "image": 2.0}, 100.0)
    assert abs(had["text"] - had["image"]) <= 2.0


def test_a_model_that_was_idle_makes_up_for_nothing() -> None:
    turns = Turns()
    run(turns, {"image": 1.0}, 1000.0)
    had = run(turns, {"image": 1.0, "text": 1.0}, 10.0)
    assert abs(had["image"] - had["text"]) <= 1.0
