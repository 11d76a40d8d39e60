"""How an ended task is told to whoever watches Celery's events, in a few words."""

from collections.abc import Mapping
from typing import Any

from genfarm_shared.tasks import State, TaskRecord
from genfarm_workers.engines import Output
from genfarm_workers.news import End


def end_of_output(output: Output) -> End:
    """The end of a task that was recorded just now."""
    if output.failure is not None:
        said = f"{output.failure.code}: {output.failure.message}"
        return End(output.task_id, State.FAILED, said)
    return _succeeded(output.task_id, output.metrics)


def end_of_record(record: TaskRecord) -> End:
    """How a task stands in the store, whoever left it so."""
    if record.state is State.SUCCEEDED:
        return _succeeded(record.id, record.metrics)
    return End(record.id, record.state, f"{record.reason_code}: {record.reason}")


def _succeeded(task_id: str, metrics: Mapping[str, Any]) -> End:
    said = f"ok · batch of {metrics.get('batch_size', 1)}"
    return End(task_id, State.SUCCEEDED, said, metrics.get("engine_seconds"))
