"""How arms are measured and compared."""

import json

from genfarm_shared.measure import Arm, Measured, Part, Ratio, Report, interleave


def test_arms_take_turns_and_no_arm_is_always_first() -> None:
    order: list[str] = []

    def arm(name: str) -> Arm:
        return Arm(name, lambda: order.append(name) or float(len(order)))  # type: ignore[func-returns-value]

    measured = interleave([arm("ours"), arm("peer")], rounds=2)
    assert order == ["ours", "peer", "peer", "ours"]
    assert measured == (Measured("ours", (1.0, 4.0)), Measured("peer", (2.0, 3.0)))


def test_a_report_survives_its_own_json() -> None:
    part = Part("no-op", "tasks/s", (Measured("ours", (2.0, 1.0)),), (Ratio("a / b", 2.0, 1.5),))
    report = Report("drain", "who is faster", (part,))
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_goal_may_be_a_floor_or_a_ceiling() -> None:
    assert Ratio("speed", 2.0, goal=1.5).is_met
    assert not Ratio("bytes", 2.0, goal=1.5, is_ceiling=True).is_met
    assert Ratio("said", 2.0).is_met is None
