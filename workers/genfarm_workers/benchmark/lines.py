"""A program that answers requests: one JSON object a line in, one out, until the end of stdin.

How a benchmark keeps a model loaded between its rounds. Knows no model.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def answer_lines(answers: Mapping[str, Answer]) -> None:
    """Answer each request by its `op`; what raises is answered with `error`, its last line.

    Whatever else writes to stdout goes to stderr: libraries like to.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with out:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = answers[request["op"]](request)
            except Exception as error:  # noqa: BLE001  # said to whoever asked, and it goes on
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            out.write(json.dumps(answer) + "\n")
            out.flush()
