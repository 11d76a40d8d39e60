"""Twenty digits that a second model reads as their prompts ask, and how many drawings it took.

    python deploy/examples/accept.py [CURVE.svg]

The drawing model is given few steps, so that some of its digits are bad; a ResNet on the same farm
says which. Those are drawn again from other seeds, and so is what looks too much like a digit that
was accepted. Uses the embedded farm that is up, or starts one for as long as it runs.
"""

import sys
import tempfile
from pathlib import Path

from genfarm import Accept, Farm

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

with Farm.local(progress=False) as farm:
    found = farm.submit_many(
        "text-to-image",
        [f"a handwritten {digit}" for digit in DIGITS],
        params={"steps": 3, "guidance_scale": 1.0},
        # Ten prompts for twenty digits: each is used twice.
        accept=Accept(n=20, label_from="prompt", at_least=0.95, distinct=0.6, tries=8),
    )
    for result in found.results():
        print(result.custom_id, result.input, result.error or f"seed {result.seed}")
    print(found)
    curve = Path(sys.argv[1] if sys.argv[1:] else f"{tempfile.mkdtemp()}/accept.svg")
    found.show().save(curve)
    print(f"The acceptance curve is in {curve}")
