"""The benchmark of the image engine runs, and counts what it says."""

import json
import sys

import pytest

from genfarm_shared.measure import Report
from genfarm_workers.benchmark import image


# diffusers' schedulers hand tensors to numpy in a way that a new numpy deprecates.
@pytest.mark.torture
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_image_benchmark_compares_every_picture_with_the_stock_pipelines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["image", "--rounds", "1", "--quick"])
    image.main()
    report = Report.from_json(json.loads(capsys.readouterr().out))
    ratios = {(part.title, ratio.what): ratio for part in report.parts for ratio in part.ratios}
    equal = [found.value for (_, what), found in ratios.items() if "bit-equal" in what]
    assert equal == [1.0] * 4
    goals = [found for found in ratios.values() if found.goal is not None]
    assert len(goals) == 8
    # So few requests cannot fill their batches; that they are equal does not depend on it.
    assert all(found.is_met for found in goals if found.goal != image.MOST_CALLS)
    speeds = [part for part in report.parts if part.unit == "pictures per CPU-second"]
    assert [len(part.arms) for part in speeds] == [3] * 4
