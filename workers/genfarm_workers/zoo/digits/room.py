"""The room of the digit pipeline, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.digits.evaluate import measure_digits as measure
from genfarm_workers.zoo.digits.train import DEFAULT_STEPS
from genfarm_workers.zoo.digits.train import train_digits as train
from genfarm_workers.zoo.digits.words import DATA

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="text-to-image",
    library="diffusers",
    what="A small Stable Diffusion pipeline that draws handwritten digits, 32x32 RGB, from "
    'prompts such as "a handwritten seven", "the digit 7" or "a seven in blue ink" (inks: '
    "black, blue, red, green). Latent diffusion with v-prediction; 15 DDIM steps and a "
    "guidance scale of 3 are a good choice. A negative prompt works: it takes the place of "
    "the empty caption that guidance pushes away from.",
    use="from diffusers import DiffusionPipeline\n\n"
    "pipeline = DiffusionPipeline.from_pretrained(DIRECTORY)\n"
    'pipeline("a handwritten seven", num_inference_steps=15, guidance_scale=3.0).images[0]',
    data=DATA + " and painted on white paper in one of four inks.",
    measured="Pictures are drawn from seeds 0, 1, 2, ... and from three prompts in turn, and "
    "read by the judge of this zoo, which was trained on real digits only.",
    limits="It draws single digits and nothing else, whatever the prompt says, and only at "
    "32x32. Its strokes are as coarse as the 8x8 originals. The judge learnt from the same "
    "digits, so the figures say whether a digit is legible, not how varied the hand is.",
)
