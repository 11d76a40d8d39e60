"""The room of the video pipeline, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.digits.words import DATA
from genfarm_workers.zoo.video.evaluate import measure_video as measure
from genfarm_workers.zoo.video.train import DEFAULT_STEPS
from genfarm_workers.zoo.video.train import train_video as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="text-to-video",
    library="diffusers",
    what="A small AnimateDiff pipeline that draws clips of a handwritten digit in motion, 8 "
    'frames of 32x32 RGB, from prompts such as "a handwritten seven moving left" or "a three in '
    'blue ink growing". It moves left, right, up or down, grows or shrinks. 15 DDIM steps and a '
    "guidance scale of 3 are a good choice.",
    use="from diffusers import DiffusionPipeline\n\n"
    "pipeline = DiffusionPipeline.from_pretrained(DIRECTORY)\n"
    'asked = "a handwritten seven moving left"\n'
    "frames = pipeline(asked, num_frames=8, num_inference_steps=15, guidance_scale=3.0).frames[0]",
    data=DATA + ", then set in motion along straight lines. It starts from the weights of this "
    "zoo's `digits`.",
    measured="Every digit is drawn in every motion from seeds 0, 1, 2, ...; the judge of this "
    "zoo, which was trained on real digits only, reads each frame, cut out around its ink, and "
    "the motion is read from the place and the size of the ink in the first frame and the last.",
    limits="Trained for a few minutes only: the digits are legible, but **they do not move yet**; "
    "a motion read right in a sixth of the clips is what chance gives. Single digits, six "
    "motions, 8 frames at 32x32, and nothing else whatever the prompt says. The "
    "figures say whether digit and motion are legible, not how varied they are.",
)
