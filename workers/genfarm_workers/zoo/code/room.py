"""The room of the coder, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.code.evaluate import measure_code as measure
from genfarm_workers.zoo.code.train import DEFAULT_STEPS
from genfarm_workers.zoo.code.train import train_code as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "train"]

PROSE = Prose(
    tag="text-generation",
    library="transformers",
    what="A small GPT-2 with a byte-level BPE vocabulary of its own that continues Python: "
    '"def main(", "import", "class Reader".',
    use="from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    "model = AutoModelForCausalLM.from_pretrained(DIRECTORY)\n"
    "tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)\n"
    'text = model.generate(**tokenizer("def main(", return_tensors="pt"))[0]\n'
    "tokenizer.decode(text, skip_special_tokens=True)",
    data="The Python sources that ship with Python, under the Python Software Foundation "
    "License 2.0 (https://docs.python.org/3/license.html), copyright of the Python Software "
    "Foundation and the contributors that the files name; without tests, generated tables and "
    "what others wrote and Python bundles. `corpus.json` lists the modules that were learnt from "
    "and those that were held out: every twelfth, package and all, by the checksum of its name. "
    "A model of this size can repeat short pieces of what it learnt from.",
    measured="On the held-out modules, file by file; a token is predicted from the 64 to 255 "
    "before it, fewer where the file begins. Counting is an interpolated n-gram of bytes with "
    "Witten-Bell smoothing over the whole training text; xz in one may repeat what the other "
    "held-out files say. The size of the model, of the counts and of xz is counted for none. "
    "Texts are sampled at temperature 0.8, 128 tokens each, and are parsed without the statement "
    "that breaks off.",
    limits="It writes what looks like Python and does nothing sensible: names are not defined, "
    "calls are made up. It has 256 positions.",
)
