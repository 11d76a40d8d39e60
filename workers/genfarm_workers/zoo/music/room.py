"""The room of the music model, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.music.evaluate import measure_music as measure
from genfarm_workers.zoo.music.train import DEFAULT_STEPS
from genfarm_workers.zoo.music.train import train_music as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="text-to-audio",
    library="transformers",
    what="A small MusicGen with an EnCodec of its own. It plays five seconds of simple tones, "
    '8,000 samples a second, from prompts such as "a slow rising scale of flute tones" or "a fast '
    'melody on the organ". It knows rising scales, falling scales, trills, melodies and long '
    "tones, slow and fast, on two instruments.",
    use="from transformers import AutoTokenizer, MusicgenForConditionalGeneration\n\n"
    "model = MusicgenForConditionalGeneration.from_pretrained(DIRECTORY)\n"
    "tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)\n"
    'text = tokenizer("a slow rising scale of flute tones", return_tensors="pt")\n'
    "wave = model.generate(**text, guidance_scale=2.0, max_length=127)[0, 0]",
    data="Pieces made by the grammar in `genfarm_workers/zoo/music`, which is part of this "
    "project and under its licence. The scale is tuned so that a frame of the codec holds "
    "whole waves of every tone.",
    measured="Every piece that the grammar has is asked for with seeds 0 and 1, sampled with a "
    "guidance of 2, and the spectrum of each frame says which tone it is.",
    limits="Trained for a few minutes only: it plays in tune, but **hardly yet the figure and the "
    "tempo that were asked for**, and its codec does not tell the two instruments apart; see the "
    "figures. Sine-like tones of eight pitches, at most five seconds, and nothing else whatever "
    "the prompt says. Its codec can say these tones and no other sound.",
)
