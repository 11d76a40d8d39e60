"""The zoo's command line: train a starter model, measure it, list what ships.

It knows no model: each command imports what it needs when it runs.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genfarm_workers import zoo


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    command(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m genfarm_workers.zoo", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("ls", help="list the models that ship with the farm")
    listing.set_defaults(command=_list)
    train = commands.add_parser("train", help="train a model; writes weights and a model card")
    train.add_argument("--out", type=Path, metavar="DIR", help="default: the shipped weights")
    train.add_argument("--seed", type=int, default=0, metavar="N")
    train.add_argument("--steps", type=int, metavar="N", help="default: the model's own")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="measure a model and print the figures")
    evaluate.add_argument("--weights", type=Path, metavar="DIR", help="default: the shipped ones")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument("--card", action="store_true", help="rewrite the model card, too")
    evaluate.set_defaults(command=_evaluate)
    recognise = commands.add_parser(
        "recognise", help="have saved pictures of digits judged against their prompts"
    )
    recognise.add_argument("metadata", type=Path, help="metadata.jsonl of a saved job")
    recognise.set_defaults(command=_recognise)
    for command in (train, evaluate):
        command.add_argument("name", choices=zoo.NAMES, metavar="NAME")
        command.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    return parser


def _list(_: argparse.Namespace) -> None:
    for name in zoo.NAMES:
        directory = zoo.path(name)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        _say(f"{name:<8} {size / 1e6:5.1f} MB  {directory}")


def _train(options: argparse.Namespace) -> None:
    from genfarm_workers.zoo.cards import write_card
    from genfarm_workers.zoo.training import Plan

    room = zoo.room(options.name)
    out: Path = options.out or zoo.path(options.name)
    room.train(Plan(out, options.seed, options.steps or room.DEFAULT_STEPS, options.threads))
    metrics = room.measure(out)
    write_card(out, metrics)
    _show(asdict(metrics))


def _evaluate(options: argparse.Namespace) -> None:
    import torch

    from genfarm_workers.zoo.cards import write_card

    torch.set_num_threads(options.threads)
    directory: Path = options.weights or zoo.path(options.name)
    metrics = zoo.room(options.name).measure(directory)
    if options.card:
        write_card(directory, metrics)
    if options.json:
        _say(json.dumps(asdict(metrics)))
    else:
        _show(asdict(metrics))


def _recognise(options: argparse.Namespace) -> None:
    from genfarm_workers.zoo.digits.evaluate import recognise_saved

    _say(json.dumps(recognise_saved(options.metadata)))


def _show(metrics: dict[str, Any]) -> None:
    for name, value in metrics.items():
        lines = value if isinstance(value, list) else [value]
        for line in lines:
            _say(f"{name.replace('_', ' ')}: {line}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
