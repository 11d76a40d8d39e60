"""Whether a device works: one tiny computation in a process of its own.

    python -m genfarm_workers.probe --device cuda

Exit code 0: it does. The process that lost a device cannot tell, and one that
a sick driver holds for ever must not be the worker.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

#: Rows and columns of the matrix of ones whose square is summed.
SIDE = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with a line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="genfarm_workers.probe")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--drill", type=Path, help="a device is sick while that file exists")
    chosen = parser.parse_args(arguments)
    if chosen.drill is not None and chosen.drill.exists():
        sys.exit(f"a drill: {chosen.drill} exists")
    if chosen.device == "cuda":
        _compute()


def _compute() -> None:
    import torch

    ones = torch.ones(SIDE, SIDE, device="cuda")
    total = (ones @ ones).sum().item()
    if total != SIDE**3:
        sys.exit(f"the device computes {total} where {SIDE**3} is right")


if __name__ == "__main__":
    main()
