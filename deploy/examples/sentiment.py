"""What do these reviews think? Labels with confidence, from the starter model `sentiment`."""

import genfarm as gf

REVIEWS = [
    "I love this product",
    "This is terrible",
    "The soup was not bad at all.",
    "I expected to love it, but the screen was a disappointment.",
]


def main() -> None:
    with gf.Farm.local() as farm:
        for review, result in zip(REVIEWS, farm.map("text-classification", REVIEWS), strict=True):
            best = result.output["labels"][0]
            print(f"{best['label']:<8} {best['score']:.0%}  {review}")


if __name__ == "__main__":
    main()
