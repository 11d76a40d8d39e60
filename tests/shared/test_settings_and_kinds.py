"""Settings have one order; parameters have bounds that name what is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genfarm_shared.artifacts import ArtifactStore
from genfarm_shared.errors import InvalidSetting, InvalidTask, NotFound
from genfarm_shared.kinds import KINDS, batch_key, check_params, find_kind
from genfarm_shared.settings import Settings, masked, misspelt


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFARM_HOME", str(tmp_path))
    assert Settings.load().window == 10_000
    (tmp_path / "config.toml").write_text("window = 1\nthreads = 1\nmodels = 'a, b'\n")
    monkeypatch.setenv("GENFARM_THREADS", "2")
    settings = Settings.load(lease_seconds=3.0)
    assert (settings.window, settings.threads, settings.lease_seconds) == (1, 2, 3.0)
    assert settings.models == ["a", "b"]
    assert settings.origin("threads") == "environment"
    assert settings.origin("window").endswith("config.toml")
    assert settings.origin("tick_seconds") == "default"


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(broker="redis://h/1", models="x,y", window=7)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"broker": "kafka://h"}, "redis, rediss"),
        ({"window": "many"}, "GENFARM_WINDOW"),
        ({"lease_seconds": 0.1}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        Settings.load(**flags)


@pytest.mark.parametrize("content", [b"window = [", b"\xff\xfe"])
def test_a_settings_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(InvalidSetting, match=r"config.toml cannot be read: .* Correct the file"):
        Settings.load(home=tmp_path)


def test_a_misspelt_variable_is_found() -> None:
    found = misspelt({"GENFARM_BROKR": "x", "GENFARM_STORE": "y", "OTHER": "z"})
    assert found == {"GENFARM_BROKR": "GENFARM_BROKER"}


def test_passwords_are_masked() -> None:
    assert masked("redis://u:p@h:1/0") == "redis://u:***@h:1/0"
    assert masked("sqlite:///a.db") == "sqlite:///a.db"


@pytest.mark.parametrize(
    ("kind", "params", "param", "said"),
    [
        ("text-generation", {}, "prompt", "prompt is missing"),
        ("text-generation", {"prompt": "x", "temperature": -1}, "temperature", "temperature=-1"),
        ("text-generation", {"prompt": "x", "tempo": 1}, "tempo", "not a parameter"),
        ("text-generation", {"prompt": "a\x00b"}, "prompt", "pattern"),
        ("text-generation", {"prompt": "x", "top_p": float("nan")}, "top_p", "finite"),
        ("text-to-image", {"prompt": "x", "size": "9x9"}, "size", "multiple of 8"),
        ("text-to-image", {"prompt": "x", "steps": "20"}, "steps", "valid integer"),
        ("sleep", {"seconds": 1e9}, "seconds", "less than or equal to 3600"),
        ("batch-floats", {"values": []}, "values", "at least 1"),
    ],
)
def test_a_wrong_parameter_is_named(
    kind: str, params: dict[str, object], param: str, said: str
) -> None:
    with pytest.raises(InvalidTask, match=said) as caught:
        check_params(find_kind(kind), params, index=3)
    assert caught.value.param == param
    assert "input 3" in str(caught.value)
    assert "submitted" not in str(caught.value)  # nobody here knows what became of the others


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(InvalidTask, match="text-to-image"):
        find_kind("text-to-smell")


def test_checked_parameters_pass_the_check_again() -> None:
    inputs = {
        "sleep": 1.0,
        "batch-floats": [1.0],
        "unconditional-image-generation": 2,
        "image-classification": f"ab/{'ab' * 32}.png",
        "image-to-text": f"ab/{'ab' * 32}.png",
    }
    for kind in KINDS.values():
        once = check_params(kind, {kind.params.main: inputs.get(kind.name, "x")})
        assert check_params(kind, once.model_dump(mode="json")) == once


@given(st.text(min_size=1, max_size=50).filter(lambda s: "\x00" not in s), st.integers(1, 99))
def test_a_batch_key_holds_the_size_and_no_prompt(prompt: str, number: int) -> None:
    kind = find_kind("text-to-image")
    keys = {
        batch_key("digits", check_params(kind, {"prompt": p, "seed": n, "steps": n, "size": 32}))
        for p, n in ((prompt, number), ("another", 1))
    }
    assert keys == {"digits|32x32"}


def test_artefacts_are_named_by_content_and_kept_once(tmp_path: Path) -> None:
    files = ArtifactStore(str(tmp_path / "artifacts"))
    first, second = (files.put(b"pixels", "image/png") for _ in range(2))
    assert first == second
    assert files.read(first.name) == b"pixels"
    kept = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == [f"{first.sha256}.png"]
    with pytest.raises(NotFound, match="GENFARM_ARTIFACTS"):
        files.read(f"00/{'00' * 32}.png")
    with pytest.raises(NotFound, match="no artefact's name"):
        files.read("3/00012.png")


def test_a_file_is_named_by_its_content_and_never_by_a_path() -> None:
    kind = find_kind("image-classification")
    for name in ("/etc/passwd", "../../secret.png", "http://host/x.png", f"ab/{'ab' * 32}/x.png"):
        with pytest.raises(InvalidTask, match="image="):
            check_params(kind, {"image": name})


def test_an_embedding_is_of_a_text_or_of_a_picture() -> None:
    kind = find_kind("feature-extraction")
    with pytest.raises(InvalidTask, match="either text or image"):
        check_params(kind, {})
    with pytest.raises(InvalidTask, match="either text or image"):
        check_params(kind, {"text": "x", "image": f"ab/{'ab' * 32}.png"})
