"""The text benchmark's dry run: every arm answers, and the report says what it is held to."""

import json

import pytest

from genfarm_shared.measure import Report
from genfarm_workers.benchmark.text import measure


@pytest.mark.torture
def test_the_dry_run_measures_every_arm_and_finds_the_texts_the_same() -> None:
    printed = json.dumps(measure(1, is_quick=True).to_json())
    report = Report.from_json(json.loads(printed))
    short, long, shared, same = report.parts
    assert len(short.arms) == len(long.arms) == 6
    assert all(value > 0 for part in report.parts for arm in part.arms for value in arm.values)
    goals = [ratio.goal for part in (short, long) for ratio in part.ratios if ratio.goal]
    assert goals == [6.0, 1.7, 1.0, 6.0, 1.7, 1.3]
    assert [ratio.value for ratio in (*shared.ratios[1:], *same.ratios)] == [1.0, 1.0, 1.0]
