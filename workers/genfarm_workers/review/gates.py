"""The gates that need no model: block list and hook, in the worker process.

A hook is a function of the farm's owner, `judge(text, where, about)`: `where` is "prompt" or
"output", `about` the task's kind, model and parameters. It returns None, or the name of the rule
by which it refuses. It must answer at once, alike at any time, and from any thread. One that
raises refuses, and so does whatever else of a review goes wrong: what was not looked at does not
pass, and costs its own task alone, never the worker.
"""

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from genfarm_shared.errors import InvalidSetting
from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.catalog import ModelEntry
from genfarm_workers.engines import Output
from genfarm_workers.review.blocklist import BlockList, read_block_list
from genfarm_workers.review.rules import Blocked, ReviewRules

log = logging.getLogger(__name__)

Hook = Callable[[str, str, Mapping[str, Any]], object]
#: Parameters that a model is to follow. A negative prompt is not: it names what shall not be.
ASKED = ("prompt", "text")


class Gates:
    """All gates of the registry's models. Safe for many threads."""

    def __init__(self, catalog: Mapping[str, ModelEntry]) -> None:
        """Raises InvalidSetting for a list or a hook that cannot be read."""
        self._desks = {
            key: _Desk(entry.review) for key, entry in catalog.items() if entry.review is not None
        }

    def are_any(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._desks)

    def refuse(self, claims: Iterable[Claim]) -> Mapping[str, Failure]:
        """By task id, why a prompt does not go into its model."""
        if not self._desks:
            return {}
        found = ((claim.task_id, self._refusal(claim)) for claim in claims)
        return {task_id: failure for task_id, failure in found if failure is not None}

    def judge(self, claim: Claim, output: Output) -> Output:
        """The output with the verdict in its metrics, or the failure in its place."""
        desk = self._desks.get(claim.model)
        if desk is None or output.failure is not None:
            return output
        if desk.rules.outputs:
            failure = desk.judge(lambda: texts_of(output), "output", claim)
            if failure is not None:
                return Output(claim.task_id, failure=failure)
        verdict = {"verdict": "pass", "gates": desk.rules.names}
        return replace(output, metrics={**output.metrics, "review": verdict})

    def _refusal(self, claim: Claim) -> Failure | None:
        desk = self._desks.get(claim.model)
        if desk is None or not desk.rules.prompts:
            return None
        return desk.judge(lambda: texts_asked(claim.params), "prompt", claim)


class _Desk:
    """The gates of one model."""

    def __init__(self, rules: ReviewRules) -> None:
        self.rules = rules
        self._list: BlockList | None = None
        if rules.block_list:
            self._list = read_block_list(rules.block_list)
        self._hook = _import(rules.hook) if rules.hook else None

    def judge(self, texts: Callable[[], Iterable[str]], where: str, claim: Claim) -> Failure | None:
        """Why one of them is refused; a review that breaks off refuses too."""
        try:
            found = (self._judge(text, where, claim) for text in texts())
            return next((failure for failure in found if failure is not None), None)
        except MemoryError:  # the process is at its end, not the review
            raise
        except BaseException as error:  # noqa: BLE001  # somebody else's code, which may exit too
            return _unjudged("the review", where, claim, error)

    def _judge(self, text: str, where: str, claim: Claim) -> Failure | None:
        found = self._list.find(text) if self._list is not None else None
        if found is not None:
            return found.failure(where)
        if self._hook is None:
            return None
        about = {"kind": claim.kind, "model": claim.model, "params": claim.params}
        try:
            rule = self._hook(text, where, about)
            return None if rule is None else Blocked("hook", str(rule)[:64]).failure(where)
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001  # as above
            return _unjudged(f"the review hook {self.rules.hook}", where, claim, error)


def _unjudged(who: str, where: str, claim: Claim, error: BaseException) -> Failure:
    # Without its message and its trace: they may quote the text.
    said = f"{who} raised {type(error).__name__}"
    log.error("%s for task %s", said, claim.task_id)
    mend = "Mend the hook" if "hook" in who else "See that the model's texts are a list"
    return Failure("internal", f"{said}, so the {where} was not passed. {mend}")


def texts_asked(params: Mapping[str, Any]) -> Iterator[str]:
    """What a task asks a model for, in words."""
    return (params[name] for name in ASKED if isinstance(params.get(name), str))


def texts_of(output: Output) -> Iterator[str]:
    """What a model wrote. Raises TypeError for texts that are no list, which nobody can judge."""
    texts = (output.output or {}).get("texts", ())
    if not isinstance(texts, list | tuple):
        raise TypeError(f"texts are to be a list, not {type(texts).__name__}")
    return (text for text in texts if isinstance(text, str))


def _import(name: str) -> Hook:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InvalidSetting(
            f"the review hook {name} cannot be imported: {error}. Install its package where the "
            "worker runs, or correct hook in models.toml"
        ) from error
    if not callable(found):
        raise InvalidSetting(f"the review hook {name} is no function. Correct it in models.toml")
    hook: Hook = found
    return hook
