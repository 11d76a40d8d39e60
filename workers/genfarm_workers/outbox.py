"""Gathers the outputs of short steps: a message, and the commit behind it, cost more than a
millisecond of somebody's time, so that one for each task of a millisecond would be most of it.

Nothing waits for its own sake: an engine that rests, or whose next step is likely to take
longer than the first of them may wait, has them sent. Knows no engine and no pipe.
"""

from collections.abc import Callable, Collection, Sequence

from genfarm_workers.engines import Output

#: Seconds that an output may wait while the engine goes on.
GATHER_SECONDS = 0.02


class Outbox:
    """What has ended and was not sent yet. One thread's."""

    def __init__(self, send: Callable[[Sequence[Output]], None]) -> None:
        self._send = send
        self._outputs: list[Output] = []
        self._since = 0.0

    def put(self, outputs: Sequence[Output], now: float) -> None:
        """Take in what ended at that moment."""
        if outputs and not self._outputs:
            self._since = now
        self._outputs += outputs

    def make_way(self, until: float, most: int) -> None:
        """Send what would otherwise wait too long, for nothing can be sent before that moment;
        or what are so many that the worker could use the room that they leave."""
        if until - self._since > GATHER_SECONDS or len(self._outputs) >= most:
            self.flush()

    def forget(self, task_ids: Collection[str]) -> None:
        """Send none of those."""
        self._outputs = [output for output in self._outputs if output.task_id not in task_ids]

    def flush(self) -> None:
        """Send all there is."""
        if self._outputs:
            outputs, self._outputs = self._outputs, []
            self._send(outputs)
