"""The engines of speech and of music on tiny models; the oracle is a task that runs alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genfarm_shared.errors import ModelUnavailable
from genfarm_workers import zoo
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Engine, Output, Sound
from genfarm_workers.engines.music import MusicEngine
from genfarm_workers.engines.registry import Tick, no_tick
from genfarm_workers.engines.sounds import SoundEngine, seconds_of, to_sound
from genfarm_workers.engines.speech import SeededNoise, SpeechEngine

from .fakes import Claimer, Runner

Making = Callable[..., Any]
KIND = "text-to-audio"


@pytest.fixture(scope="module")
def music_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The music model of the zoo before it has learnt anything."""
    from genfarm_workers.zoo.music.codec import build_codec
    from genfarm_workers.zoo.music.parts import build_musician, build_tokenizer

    folder = tmp_path_factory.mktemp("tiny-musicgen")
    torch.manual_seed(1)
    tokenizer, codec = build_tokenizer(), build_codec()
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()  # else every code stands for the same sound
    build_musician(codec, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def make(music_folder: Path, entry: Callable[..., ModelEntry]) -> Making:
    def engine_of(name: str, tick: Tick = no_tick, **limits: Any) -> SoundEngine:
        made = MusicEngine if name == "music" else SpeechEngine
        source = str(music_folder) if name == "music" else str(zoo.path("speech"))
        asked = {"source": source, "dtype": "float32", "slots": 3, "limits": limits}
        engine = made(entry(name, KIND, name, **asked), "cpu", tick)
        engine.load()
        return engine

    return engine_of


def sounds_of(output: Output) -> list[Sound]:
    assert output.failure is None, output.failure
    return [media for media in output.files if isinstance(media, Sound)]


def reason_of(output: Output) -> str:
    assert output.failure is not None
    assert output.failure.code == "invalid_params"
    return output.failure.message


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("speech", {}),
        ("music", {"seconds": 0.4}),
        ("music", {"seconds": 0.4, "guidance_scale": 3.0, "temperature": 0.7}),
    ],
)
def test_a_sound_has_the_same_bytes_alone_and_in_company(
    make: Making, claim: Claimer, run: Runner, name: str, shared: dict[str, Any]
) -> None:
    engine = make(name)
    prompts = ["a slow trill", "fast melody on the organ", "a slow trill"]
    claims = [
        claim(f"t{k}", KIND, name, prompt=prompt, seed=k, n=1 + k % 2, **shared)
        for k, prompt in enumerate(prompts)
    ]
    together = run(engine, claims)
    assert len({sound for one in together.values() for sound in sounds_of(one)}) == 4
    for one in claims:
        assert sounds_of(run(engine, [one])[one.task_id]) == sounds_of(together[one.task_id])


def test_an_output_names_what_was_made(make: Making, claim: Claimer, run: Runner) -> None:
    task = claim("a", KIND, "music", prompt="a trill", seconds=0.5, seed=5, n=2, format="flac")
    output = run(make("music"), [task])["a"]
    assert output.output is not None
    seeds = output.output.pop("seeds")
    assert seeds[0] == 5 != seeds[1]
    assert output.output == {"sounds": 2, "rate": 8000, "seconds": [0.5, 0.5]}
    assert [sound.format for sound in sounds_of(output)] == ["flac", "flac"]


@pytest.mark.parametrize("seconds", [0.1, 0.33, 1.0])
def test_music_is_as_long_as_asked(
    make: Making, claim: Claimer, run: Runner, seconds: float
) -> None:
    task = claim("a", KIND, "music", prompt="a trill", seconds=seconds)
    (sound,) = sounds_of(run(make("music"), [task])["a"])
    assert seconds_of(sound) == pytest.approx(seconds, abs=1 / sound.rate)


def test_greedy_music_takes_no_notice_of_the_seed(
    make: Making, claim: Claimer, run: Runner
) -> None:
    cold = {"prompt": "a trill", "seconds": 0.3, "temperature": 0.0}
    outputs = run(make("music"), [claim(str(k), KIND, "music", seed=k, **cold) for k in (1, 2)])
    assert sounds_of(outputs["1"]) == sounds_of(outputs["2"])


def test_pace_voice_and_spread_change_what_is_spoken(
    make: Making, claim: Claimer, run: Runner
) -> None:
    ways: dict[str, dict[str, Any]] = {
        "own": {},
        "quick": {"speaking_rate": 4.0},
        "other": {"voice": 1},
        "still": {"temperature": 0.0},
    }
    claims = [claim(key, KIND, "speech", prompt="hello", **way) for key, way in ways.items()]
    outputs = run(make("speech"), claims)
    spoken = {key: sounds_of(output)[0] for key, output in outputs.items()}
    assert len(set(spoken.values())) == len(ways)
    assert seconds_of(spoken["quick"]) < seconds_of(spoken["own"])


def test_a_model_that_was_made_without_noise_takes_a_temperature(
    make: Making, claim: Claimer, run: Runner
) -> None:
    engine = make("speech")
    engine.model.config.noise_scale = 0.0
    ways: dict[str, dict[str, Any]] = {"own": {}, "wide": {"temperature": 0.5}}
    tasks = [claim(key, KIND, "speech", prompt="hello", **way) for key, way in ways.items()]
    spoken = [sounds_of(output) for output in run(engine, tasks).values()]
    assert spoken[0] != spoken[1]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("speech", {"voice": 2}, "2 voices, 0 to 1"),
        ("speech", {"seconds": 3.0}, "takes no seconds"),
        ("speech", {"prompt": "¿¡"}, "no character"),
        ("speech", {"prompt": "a" * 2000}, "Cut it into sentences"),
        ("music", {"seconds": 9.0}, "at most 5 seconds"),
        ("music", {"voice": 1}, "takes no voice"),
        ("music", {"prompt": "trill " * 90}, "limits.prompt_tokens"),
    ],
)
def test_what_a_model_cannot_do_is_refused_beside_what_it_can(
    make: Making, claim: Claimer, run: Runner, name: str, values: dict[str, Any], said: str
) -> None:
    shared = {"prompt": "hello", "seconds": 0.2} if name == "music" else {"prompt": "hello"}
    tasks = [claim("bad", KIND, name, **{**shared, **values}), claim("good", KIND, name, **shared)]
    outputs = run(make(name), tasks)
    assert said in reason_of(outputs["bad"])
    assert sounds_of(outputs["good"])


@pytest.mark.parametrize("name", ["speech", "music"])
def test_a_task_dropped_while_it_runs_never_comes_back(
    make: Making, claim: Claimer, name: str
) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(len(ticks))
        engine.drop(["a"])

    engine = make(name, tick)
    engine.admit([claim("a", KIND, name, prompt="hello", n=3)])
    assert engine.step(0.0) == []
    assert engine.wakes_at(0.0) is None
    assert len(ticks) == (3 if name == "speech" else 1)


def test_a_glimpse_tells_how_many_tokens_are_written(make: Making, claim: Claimer) -> None:
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.extend((glimpse.done, glimpse.total) for glimpse in engine.glimpses(["a"]))

    engine: Engine = make("music", look)
    engine.admit([claim("a", KIND, "music", prompt="a trill", seconds=0.4, n=2)])
    engine.step(0.0)
    # Ten frames, and one more because the second codebook is a step late; of two rows.
    assert seen == [(2 * k, 22) for k in range(11)]


def test_each_call_of_the_decoder_of_music_is_counted(
    make: Making, claim: Claimer, run: Runner
) -> None:
    engine = make("music")
    run(engine, [claim("a", KIND, "music", prompt="a slow trill", seconds=0.5)])
    assert engine.work.calls > 10
    assert engine.work.computed == 3 * engine.work.useful == 3 * engine.work.calls


def test_noise_is_the_same_on_every_device_and_for_every_precision() -> None:
    with SeededNoise(7):
        first, like = torch.randn(2, 3), torch.randn_like(torch.zeros(4, dtype=torch.bfloat16))
    with SeededNoise(7):
        assert torch.equal(torch.randn(2, 3), first)
        assert torch.equal(torch.randn(4).to(torch.bfloat16), like)
    assert not torch.equal(torch.randn(2, 3), first)


def test_a_wave_becomes_little_endian_samples_side_by_side() -> None:
    sound = to_sound(torch.tensor([[0.0, 1.0, -2.0], [0.5, float("nan"), 0.0]]), 8000, "wav")
    loudest = (32767).to_bytes(2, "little")
    assert sound.samples[4:6] == loudest
    assert sound.samples[8:10] == (-32767).to_bytes(2, "little", signed=True)
    assert (sound.channels, len(sound.samples)) == (2, 12)


def test_a_model_of_another_family_is_refused_at_load(
    entry: Callable[..., ModelEntry], text_folder: Path
) -> None:
    for engine in (MusicEngine, SpeechEngine):
        with pytest.raises(ModelUnavailable, match="it is of type gpt2, not"):
            engine(entry("odd", KIND, "music", source=str(text_folder))).load()
