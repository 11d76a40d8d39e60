"""What the cards of all generators say alike."""

from genfarm_workers.zoo.digits.words import DATA

LEARNT_FROM = DATA + ", drawn black on white."
MEASURED = (
    "Digits are drawn from one stream of noise and read by the judge of this zoo, which was "
    "trained on real digits only. An FID here is the Frechet distance of the judge's last layer "
    "but one, 64 numbers, to that of the 360 digits no training saw, with as many drawn of each "
    "digit: compare it with that of real digits in the same mix and that of noise, and with "
    "nothing else."
)
LIMITS = (
    "It draws what it was trained on and nothing else, at one small size. Its strokes are as "
    "coarse as the 8x8 originals. The judge learnt from the same digits, so the figures say "
    "whether a digit is legible; the distances also see how varied the hand is."
)


def use_of(name: str, latent: int) -> str:
    """How to draw its first pictures."""
    return (
        "import torch\n"
        "from pathlib import Path\n"
        "from genfarm_workers.engines.generators import load_generator, one_hot\n\n"
        "generator = load_generator(Path(DIRECTORY))\n"
        "sevens = one_hot(torch.full((4,), 7), generator.design)\n"
        f"pictures = generator(torch.randn(4, {latent}), sevens)  # (4, 1, S, S), -1 to 1\n\n"
        f'# on a farm: farm.submit("sample", model="{name}", n=4, label=7)'
    )
