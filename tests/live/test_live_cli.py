"""`genfarm run --stream`, at the yard's worker."""

import io

import pytest

from genfarm import Farm
from genfarm.cli import live, main
from genfarm_shared.drill import answer
from tests.yard import Yard


def test_run_streams_one_input(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENFARM_BROKER", yard.settings.broker)
    home = ("--home", str(yard.settings.home))
    assert main(["run", "sleep", "0.3", "--stream", *home]) == 0
    assert "1 succeeded, 0 failed" in capfd.readouterr().err
    for wrong in (["1", "2"], ["1", "--json"], ["1", "--detach"]):
        assert main(["run", "sleep", *wrong, "--stream", *home]) == 2
        assert "--stream" in capfd.readouterr().err


def test_a_text_is_written_as_it_comes(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    class Paper(io.StringIO):
        def write(self, text: str) -> int:
            strokes.append((text, item.done()))
            return len(text)

    strokes: list[tuple[str, bool]] = []
    params = {"text": "a tale", "seconds": 1.2, "aloud": True}
    item = farm.submit("drill", params, model="drill")
    monkeypatch.setattr("sys.stdout", Paper())
    assert live.show(item, "text-generation", 30.0)
    assert "".join(text for text, _ in strokes) == answer(0, "a tale") + "\n"
    assert sum(not is_done for _, is_done in strokes) >= 1
