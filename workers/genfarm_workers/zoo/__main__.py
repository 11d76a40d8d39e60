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

from genfarm_shared.errors import InvalidSetting
from genfarm_workers import zoo


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except InvalidSetting as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
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
    train.add_argument(
        "--data", type=Path, metavar="PATH", help="a folder of pictures, or an MNIST-format file"
    )
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    train.add_argument("--every", type=int, metavar="N", help="steps between two checkpoints")
    train.set_defaults(command=_train)
    evaluate = commands.add_parser("evaluate", help="measure a model and print the figures")
    evaluate.add_argument("--weights", type=Path, metavar="DIR", help="default: the shipped ones")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument(
        "--card", action="store_true", help="rewrite the model card, too, and the VAE's latents.png"
    )
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
    if (options.data or options.resume or options.every) and not hasattr(room, "TAKES_DATA"):
        takers = ", ".join(name for name in zoo.NAMES if hasattr(zoo.room(name), "TAKES_DATA"))
        raise InvalidSetting(
            f"--data, --resume and --every are not for {options.name}; they are for {takers}"
        )
    out = _out_of(options)
    steps = options.steps or room.DEFAULT_STEPS
    more = {"data": options.data, "resume": options.resume, "every": options.every}
    room.train(Plan(out, options.seed, steps, options.threads, **more))
    metrics = room.measure(out)
    write_card(out, metrics)
    _show(asdict(metrics))
    if out != zoo.path(options.name):
        _advise(options.name, out)


def _out_of(options: argparse.Namespace) -> Path:
    """The shipped weights are never overwritten by a model of other data."""
    if options.out is None and options.data is not None:
        return Path(f"{options.name}-{options.data.resolve().name.partition('.')[0]}")
    return options.out or zoo.path(options.name)


def _advise(name: str, out: Path) -> None:
    """How the model is served, for the models of one kind alone."""
    prose = zoo.room(name).PROSE
    if prose.tag != "unconditional-image-generation":
        return
    sys.stderr.write(
        f"Look at {out / 'samples.png'}. To serve it, put into models.toml of GENFARM_HOME:\n"
        f'[models.my-{name}]\nkind = "{prose.tag}"\nengine = "samples"\n'
        f'source = "{out.resolve()}"\n'
    )


def _evaluate(options: argparse.Namespace) -> None:
    import torch

    from genfarm_workers.zoo.cards import write_card

    torch.set_num_threads(options.threads)
    directory: Path = options.weights or zoo.path(options.name)
    room = zoo.room(options.name)
    metrics = room.measure(directory)
    if options.card:
        write_card(directory, metrics)
        getattr(room, "illustrate", lambda _: None)(directory)
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
