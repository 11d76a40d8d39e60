"""Which sentences say the same? The nearest neighbours among vectors of the farm."""

import genfarm as gf

SENTENCES = [
    "The doctor sold a boat to the thief.",
    "The robber bought a vessel from the physician.",
    "The thief sold a boat to the doctor.",
    "In winter the teacher helped the mayor.",
    "The head of the town got help from the schoolmaster when snow lay.",
]


def main() -> None:
    with gf.Farm.local() as farm:
        vectors = [result.output["embedding"] for result in farm.map("embed", SENTENCES)]
    for sentence, vector in zip(SENTENCES, vectors, strict=True):
        near = [sum(a * b for a, b in zip(vector, other, strict=True)) for other in vectors]
        order = sorted(range(len(near)), key=lambda k: -near[k])
        print(f"{sentence}\n  {near[order[1]]:.2f}  {SENTENCES[order[1]]}")


if __name__ == "__main__":
    main()
