"""What becomes of the tasks that an engine could not end. Pure: it writes nothing.

    the device does not answer a probe   every task goes back, and nobody is accused
    the engine had not begun             the same
    it died of loading a model           the same; that model's tasks as the bench says
    the device was lost, and is well     the tasks are suspects, but never convicted: one
                                         that loses it alone uses up an attempt each time
    it died at work                      the tasks are suspects

A device can be at fault although it answers a probe; so a lost device convicts
no task, and still a task that always loses it ends after its attempts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from genfarm_shared.tasks import Claim, Failure
from genfarm_workers.bench import Bench
from genfarm_workers.engines import Output
from genfarm_workers.recorder import Ended
from genfarm_workers.review.gates import Gates


@dataclass(frozen=True, slots=True)
class Death:
    """How an engine process ended."""

    #: The claims in its hands.
    held: list[Claim]
    #: For people.
    reason: str
    #: By SIGKILL from outside: a person, or the system for want of memory.
    was_killed: bool = False
    #: False for one that never began to work.
    was_ready: bool = True
    #: By this process, for its silence.
    was_hung: bool = False
    #: It said that no call on its device works any more.
    lost_device: bool = False
    #: The model that it was loading.
    loading: str | None = None

    @property
    def casts_doubt(self) -> bool:
        """Whether the device may be at fault."""
        return self.lost_device or self.was_hung or not self.was_ready


@dataclass(frozen=True, slots=True)
class Verdict:
    """Each task is in one of the lists."""

    #: They go on apart from others.
    suspects: list[Claim] = field(default_factory=list)
    #: Whether something other than a task may have ended the engine.
    is_lenient: bool = False
    #: They go on, here or elsewhere, as if nothing had happened.
    returned: list[Claim] = field(default_factory=list)
    #: To be recorded.
    ended: list[Ended] = field(default_factory=list)


def judge(death: Death, device_fault: str | None, bench: Bench) -> Verdict:
    """The verdict on what a dead engine held; `device_fault` is what the probe said."""
    if device_fault is not None or not death.was_ready:
        return Verdict(returned=death.held)
    if death.loading is not None:
        return turn_away(death.held, bench)
    if not death.lost_device:
        return Verdict(suspects=death.held, is_lenient=death.was_killed)
    if len(death.held) == 1 and death.held[0].suspect:
        (claim,) = death.held
        said = f"the device was lost while it ran this task alone: {death.reason}"
        failure = Failure("device_lost", f"{said}. See the worker's log", retryable=True)
        return Verdict(ended=[Ended(claim, Output(claim.task_id, failure=failure))])
    return Verdict(suspects=death.held, is_lenient=True)


def turn_away(claims: Sequence[Claim], bench: Bench, gates: Gates | None = None) -> Verdict:
    """The verdict on tasks whose model this worker may not be able to load, or whose prompts are
    refused."""
    verdict = Verdict()
    refused = gates.refuse(claims) if gates is not None else {}
    reasons = {model: bench.verdict(model) for model in {claim.model for claim in claims}}
    for claim in claims:
        reason = reasons[claim.model]
        if claim.task_id in refused:
            failure = refused[claim.task_id]
            verdict.ended.append(Ended(claim, Output(claim.task_id, failure=failure)))
        elif reason is None:
            verdict.returned.append(claim)
        else:
            failure = Failure("model_unavailable", reason)
            verdict.ended.append(Ended(claim, Output(claim.task_id, failure=failure)))
    return verdict


def is_homeless(ended: Ended) -> bool:
    """Whether its model could not be loaded, so that another worker may do better."""
    failure = ended.output.failure
    return failure is not None and failure.code == "model_unavailable"
