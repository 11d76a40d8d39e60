"""The room of the captioner, and what its card says."""

from genfarm_workers.zoo.captions.evaluate import measure_captions as measure
from genfarm_workers.zoo.captions.train import DEFAULT_STEPS
from genfarm_workers.zoo.captions.train import train_captions as train
from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.digits.words import DATA

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="image-to-text",
    library="transformers",
    what="A small VisionEncoderDecoderModel, a vision transformer and a GPT-2, that says which "
    'handwritten digit a picture shows and in which ink: "a handwritten seven in blue ink" '
    "(inks: black, blue, red, green, and white on dark paper). Sampled, it says the same in four "
    'ways, and it continues a beginning such as "the digit".',
    use="from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel\n\n"
    "model = VisionEncoderDecoderModel.from_pretrained(DIRECTORY)\n"
    'processor = AutoImageProcessor.from_pretrained(DIRECTORY, backend="pil")\n'
    "tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)\n"
    'seen = model.generate(processor(picture, return_tensors="pt").pixel_values)\n'
    "tokenizer.batch_decode(seen, skip_special_tokens=True)",
    data=DATA + ", with edges of every softness, and painted in shades near one of five inks.",
    measured="Captions are greedy. The held-out digits are painted in the five inks in turn; the "
    "drawn ones come from the digit pipeline of this zoo, and count as named when the caption "
    "says the digit and the ink of the prompt. The constant is one caption for all held-out "
    "pictures, the luckiest there is.",
    limits="It says a digit and an ink of whatever it is shown. One digit has to fill the "
    "picture. The same 13 people wrote the training and the held-out digits, and the pipeline "
    "learnt from the same digits, too.",
)
