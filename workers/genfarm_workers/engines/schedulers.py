"""Names of the field for diffusers' schedulers, and a fresh one for each picture.

A scheduler remembers where a picture is, so that no two share one. Knows no
picture and no step.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class _Named:
    """A class of diffusers and the options that make it the method of that name."""

    class_name: str
    options: Mapping[str, Any] = field(default_factory=dict)


_MULTISTEP = "DPMSolverMultistepScheduler"
_SCHEDULERS = {
    "ddim": _Named("DDIMScheduler"),
    "ddpm": _Named("DDPMScheduler"),
    "pndm": _Named("PNDMScheduler", {"skip_prk_steps": True}),
    "euler": _Named("EulerDiscreteScheduler"),
    "euler-a": _Named("EulerAncestralDiscreteScheduler"),
    "heun": _Named("HeunDiscreteScheduler"),
    "dpm++2m": _Named(_MULTISTEP, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpm++2m-karras": _Named(
        _MULTISTEP,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    "dpm++2m-sde": _Named(_MULTISTEP, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "unipc": _Named("UniPCMultistepScheduler"),
}


class Schedulers:
    """Fresh schedulers for pictures of one model."""

    def __init__(self, own: Any) -> None:
        """`own` is the pipeline's; None for a pipeline without."""
        self._own = own
        self._patterns: dict[str | None, Any] = {}

    def make(self, name: str | None) -> Any:
        """A new scheduler of that name, None for one like the pipeline's own."""
        if name not in self._patterns:
            self._patterns[name] = self._pattern(name)
        # Copied: making one computes a thousand betas in Python, 5 ms of a small picture's 100.
        return copy.deepcopy(self._patterns[name])

    def _pattern(self, name: str | None) -> Any:
        if name is None:
            return type(self._own).from_config(self._own.config)
        named = _SCHEDULERS[name]
        return _class_of(named).from_config(self._own.config, **named.options)


def takes_scheduler(own: Any, name: str) -> bool:
    """Whether a model made for its own scheduler can be drawn with that one."""
    known = {found.__name__ for found in getattr(own, "compatibles", [])}
    return _SCHEDULERS[name].class_name in known | {type(own).__name__}


def name_of(own: Any) -> str:
    """The name of a pipeline's own scheduler, its class where the field has none for it."""
    found = (name for name, named in _SCHEDULERS.items() if named.class_name == type(own).__name__)
    return next(found, type(own).__name__)


def _class_of(named: _Named) -> Any:
    import diffusers

    return getattr(diffusers, named.class_name)
