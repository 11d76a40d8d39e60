"""What the benchmark of publishing holds against what."""

from genfarm.benchmark.publish import ALONE, OURS, PACKED, RAW, STOCK, compare_rates
from genfarm_shared.measure import Measured, Part


def test_submissions_and_bare_messages_are_held_against_celery_and_both_pipelines() -> None:
    rates = {STOCK: 1.0, RAW: 50.0, PACKED: 400.0, ALONE: 100.0, OURS: 20.0}
    arms = tuple(Measured(name, (rate,)) for name, rate in rates.items())
    found = list(compare_rates(Part("", "tasks/s", arms)))
    assert {ratio.what: ratio.value for ratio in found} == {
        f"{OURS} / {STOCK}": 20.0,
        f"{OURS} / {RAW}": 0.4,
        f"{OURS} / {PACKED}": 0.05,
        f"{ALONE} / {STOCK}": 100.0,
        f"{ALONE} / {RAW}": 2.0,
        f"{ALONE} / {PACKED}": 0.25,
    }
    assert [ratio.what for ratio in found if ratio.goal] == [f"{OURS} / {STOCK}", f"{OURS} / {RAW}"]
