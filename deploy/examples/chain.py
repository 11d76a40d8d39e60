"""A prompt becomes a picture, the picture a caption, and the caption a story.

    python deploy/examples/chain.py

Each item goes on as soon as it is ready, every stage is batched on its own, and
the farm moves the items: this script may end at once, and find the chain again.
"""

import genfarm as gf

STAGES = [
    gf.Stage("text-to-image", name="draw", prompt="a drawing of a {input}"),
    gf.Stage("image-to-text", name="caption", image="{image}"),
    gf.Stage("text-generation", name="story", prompt="{text}", max_new_tokens=24),
]


def main() -> None:
    """Three digits, through three models."""
    with gf.Farm() as farm:
        chain = farm.chain(STAGES, ["3", "7", "8"])
        for result in chain.results(ordered=True, timeout=300):
            seen = result.stages
            picture = seen["draw"].image if "draw" in seen else None
            print(f"{result.custom_id}  {picture.size if picture else 'no picture'}")
            print(f"  caption  {seen['caption'].text if 'caption' in seen else None}")
            print(f"  story    {result.text if result.ok else result.error}")
        print(chain)


if __name__ == "__main__":
    main()
