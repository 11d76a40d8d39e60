"""`python -m genfarm_workers.judging FOLDER`: judges the outputs that a client laid out there.

FOLDER/samples.jsonl has a line an output: `name`, `prompt`, and `text` or
`path`. The judgement is one JSON object on stdout; what cannot be judged is one
line on stderr and exit code 2, or 5 where a model's files are at fault.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from genfarm_shared.errors import GenfarmError, InvalidTask, ModelUnavailable
from genfarm_workers.judging.figures import Judgement, Sample


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m genfarm_workers.judging", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", help="digits, a folder of pictures, or a file of texts")
    parser.add_argument("--inception", type=Path, help="Inception-v3 as safetensors")
    parser.add_argument("--model", help="registry key of a language model; default: stories")
    options = parser.parse_args(arguments)
    lines = (options.folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [Sample(**json.loads(line)) for line in lines]
    try:
        judgement = judge(samples, options.against, options.inception, options.model)
    except GenfarmError as error:
        sys.stderr.write(f"{error}\n")
        return 5 if isinstance(error, ModelUnavailable) else 2
    sys.stdout.write(json.dumps(judgement.to_json()) + "\n")
    return 0


def judge(
    samples: Sequence[Sample],
    against: str | None = None,
    inception: Path | None = None,
    model: str | None = None,
) -> Judgement:
    """Pictures or texts, as the first sample is. Raises InvalidTask, ModelUnavailable."""
    if samples[0].path is not None:
        if model is not None:
            raise InvalidTask("--model judges texts, and these are pictures; leave it out")
        from genfarm_workers.judging.pictures import judge_pictures

        return judge_pictures(samples, against, inception)
    if inception is not None:
        raise InvalidTask("--inception judges pictures, and these are texts; leave it out")
    from genfarm_shared.settings import Settings
    from genfarm_workers.catalog import read_catalog
    from genfarm_workers.judging.texts import find_judge, judge_texts

    catalog = read_catalog(Settings.load().registry_path)
    return judge_texts(samples, against, find_judge(catalog, model or "stories"))


if __name__ == "__main__":
    sys.exit(main())
