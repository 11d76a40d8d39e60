"""Digits from a GAN, a DCGAN and a VAE, and a walk from a nine to a six.

    python deploy/examples/digits_gan.py [FOLDER]

Prints what was drawn; with a folder it also leaves the sheets there. Uses the embedded farm that
is up, or starts one for as long as it runs.
"""

import sys
from pathlib import Path

from genfarm import Farm, Job

SAMPLE = "unconditional-image-generation"


def tell(job: Job, name: str) -> None:
    drawn = [label for result in job.wait() for label in result.output["labels"]]
    print(f"{name}: {len(drawn)} pictures of {' '.join(dict.fromkeys(drawn))}")
    if sys.argv[1:]:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        job.show(cols=4).save(folder / f"{name}.png")


with Farm.local(progress=False) as farm:
    digits = [{"label": digit, "n": 4, "seed": 10 + digit} for digit in range(10)]
    for model in ("gan", "dcgan", "vae"):
        tell(farm.submit_many(SAMPLE, digits, model=model), model)
    # Without a label each seed chooses a class of its own, and a walk passes between the two.
    walk = {"seed": 2, "to_seed": 7, "n": 12}
    tell(farm.submit_many(SAMPLE, [walk], model="vae"), "walk")
