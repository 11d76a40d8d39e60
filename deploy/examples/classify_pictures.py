"""Which digit do pictures show? Drawn by one model of the farm, read by another."""

from pathlib import Path
from tempfile import TemporaryDirectory

import genfarm as gf

PROMPTS = ["a handwritten seven", "a four in blue ink"]


def main() -> None:
    with gf.Farm.local() as farm, TemporaryDirectory() as folder:
        drawn = list(farm.map("text-to-image", PROMPTS))
        path = Path(folder) / "seven.png"
        drawn[0].image.save(path)
        large = drawn[0].image.resize((128, 128))
        # A result, a file and a picture in memory are all pictures to the farm.
        pictures = [*drawn, path, large]
        names = [*PROMPTS, "the first, from its file", "the first, enlarged"]
        read = farm.map("image-classification", pictures, params={"top_k": 3})
        for name, result in zip(names, read, strict=True):
            labels = result.output["labels"]
            print(f"{name}: " + ", ".join(f"{one['label']} {one['score']:.0%}" for one in labels))


if __name__ == "__main__":
    main()
