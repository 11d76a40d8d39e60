"""The room of the story teller, and what its card says."""

from genfarm_workers.zoo.cards import Prose
from genfarm_workers.zoo.stories.evaluate import measure_stories as measure
from genfarm_workers.zoo.stories.evaluate import score_stories as score
from genfarm_workers.zoo.stories.train import DEFAULT_STEPS
from genfarm_workers.zoo.stories.train import train_stories as train

__all__ = ["DEFAULT_STEPS", "PROSE", "measure", "score", "train"]

PROSE = Prose(
    tag="text-generation",
    library="transformers",
    what="A small GPT-2 with a byte-level BPE vocabulary of its own. It continues openings "
    'such as "Once upon a time", "The old captain" or "One rainy morning" to a little story '
    "and ends it with the end-of-text token.",
    use="from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
    "model = AutoModelForCausalLM.from_pretrained(DIRECTORY)\n"
    "tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)\n"
    'story = model.generate(**tokenizer("One rainy morning", return_tensors="pt"))[0]\n'
    "tokenizer.decode(story, skip_special_tokens=True)",
    data="20,000 stories written by the grammar in `genfarm_workers/zoo/stories`, which is "
    "part of this project and under its licence.",
    measured="Held-out stories come from the same grammar, but none of their sentences occurs "
    "in the corpus: every eighth sentence, by its checksum, is kept out of all training "
    "stories. xz sees the same bytes, the model's own size is not counted for either.",
    limits="It does not keep to a name: the hero of one sentence is often another in the next, "
    "and so is the thing that was lost. It knows 660 English words and five plots. Far from "
    "those it stays grammatical for a few words at best. It has 288 positions; a story takes "
    "about 190.",
)
