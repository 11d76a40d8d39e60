"""Draws digits, says in words what the pictures show, and counts how often that is right."""

from genfarm import Farm

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def main() -> None:
    with Farm.local(progress=False) as farm:
        prompts = [f"a handwritten {digit} in blue ink" for digit in DIGITS]
        drawn = farm.map("text-to-image", prompts, params={"seed": 1})
        pictures = [result.image for result in drawn]
        captions = [result.text for result in farm.map("image-to-text", pictures)]
        for prompt, caption in zip(prompts, captions, strict=True):
            print(f"{prompt:<36} -> {caption}")
        pairs = zip(DIGITS, captions, strict=True)
        right = sum(digit in caption.split() for digit, caption in pairs)
        print(f"{right} of {len(DIGITS)} captions name the digit that was asked for")


if __name__ == "__main__":
    main()
