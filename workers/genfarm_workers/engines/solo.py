"""One picture's own pipeline call, in a thread that stops wherever a module would compute.

diffusers' pipelines are loops of their own: encode, then denoise step by step,
then decode. Here each picture runs the stock loop unchanged, but on shadows of
the pipeline's modules: calling one hands the call over to whoever drives the
thread, and the loop goes on when the answer is there. So loops at different
steps can be answered by one device call, and everything between two calls
(guidance, scheduler, noise) is the library's own code. One thread runs at a
time: the driver, or the one picture that it resumed. Knows no batch and no task.
"""

import copy
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_current = threading.local()


class _Stopped(BaseException):  # not an error: no pipeline may catch it
    """Unwinds a picture's thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a pipeline wants computed before it goes on."""

    #: Of the pipeline's component: `unet`, `vae`, `text_encoder`.
    component: str
    #: The module itself, or its `decode`.
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def answer(self) -> Any:
        return self.function(*self.args, **self.kwargs)


class Solo:
    """Driven by one thread; `stop` may come at any time between two `resume`s."""

    def __init__(self, play: Callable[[], Any]) -> None:
        self._play = play
        self._goes, self._comes = threading.Semaphore(0), threading.Semaphore(0)
        self._call: Call | None = None
        self._answer: Any = None
        self._error: BaseException | None = None
        self._is_stopped = False
        #: What `play` returned.
        self.result: Any = None
        # A daemon, so that a process that ends does not wait for pictures.
        self._thread = threading.Thread(target=self._run, daemon=True, name="picture")
        self._thread.start()

    def resume(self, answer: Any = None) -> Call | None:
        """Go on to the next call, None at the end. Raises what the pipeline raised."""
        self._call, self._answer = None, answer
        self._goes.release()
        self._comes.acquire()
        if self._error is not None:
            raise self._error
        return self._call

    def stop(self) -> None:
        if self._thread.is_alive():
            self._is_stopped = True
            self._goes.release()
            self._thread.join()

    def ask(self, call: Call) -> Any:
        """From within the picture's thread."""
        self._call = call
        self._comes.release()
        self._goes.acquire()
        if self._is_stopped:
            raise _Stopped
        answer, self._answer = self._answer, None
        return answer

    def _run(self) -> None:
        self._goes.acquire()
        if self._is_stopped:
            return
        _current.solo = self
        try:
            # Both are per thread: the driver's own do not reach here.
            with torch.inference_mode():
                self.result = self._play()
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001  # raised again by `resume`
            self._error = error
        self._comes.release()


def shadow_stage(pipeline: Any) -> Any:
    """A copy of a pipeline whose modules ask the running `Solo` instead of computing.

    The copies share their weights with the originals.
    """
    stage = copy.copy(pipeline)
    stage.__class__ = _placed(type(pipeline), pipeline.device)
    for name, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            shadow = copy.copy(module)
            # A module calls its own `forward`, so that this one attribute is enough.
            vars(shadow)["forward"] = _asking(name, module, module.forward)
            if name == "vae":
                decode: Any = module.decode
                vars(shadow)["decode"] = _asking(name, decode, decode)
            setattr(stage, name, shadow)
    return stage


def _placed(kind: type, device: torch.device) -> type:
    """A pipeline's class that knows its device.

    The library's own looks through every layer of every module for hooks, five times a picture.
    """
    known = property(lambda self: device)
    return type(kind.__name__, (kind,), {"device": known, "_execution_device": known})


def _asking(name: str, function: Callable[..., Any], like: Any) -> Callable[..., Any]:
    @functools.wraps(like)
    def ask(*args: Any, **kwargs: Any) -> Any:
        return _current.solo.ask(Call(name, function, args, kwargs))

    return ask
