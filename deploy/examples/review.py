"""What may not go in, who made what came out, and whether it comes out so again.

    python deploy/examples/review.py

Starts a farm of its own, because gates are set in its registry, never by a request.
"""

import tempfile
from pathlib import Path

from genfarm import Farm, ItemFailed

REGISTRY = """
[models.stories]
kind = "text-generation"
engine = "text"
source = "zoo:stories"
dtype = "float32"
slots = 8
default = true

[models.stories.review]
block_list = ["wicked", "dark forest"]
"""

with tempfile.TemporaryDirectory() as home:
    (Path(home) / "models.toml").write_text(REGISTRY)
    with Farm.local(workers=1, home=home, flower=False, progress=False) as farm:
        refused = farm.submit("text-generation", "A w.i.c.k.3.d old king", max_new_tokens=8)
        told = farm.submit("text-generation", "Once upon a time", max_new_tokens=8, seed=7)
        try:
            refused.result()
        except ItemFailed as error:
            print(f"{error.code}: {error}")
        print(told.result().text)
        print(farm.verify(told).said)
        print(farm.replay(told).said)
