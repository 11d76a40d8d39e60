"""Every error that a user can meet.

GenfarmError
├── InvalidTask (ValueError)        the request is wrong; nothing was written
├── InvalidSetting (ValueError)     a setting is wrong or missing
├── NotFound (LookupError)          no such job, task or model
├── JobConflict                     the name is taken by another job
├── QueueFull                       too many tasks are open in the farm already
├── Unreachable (ConnectionError)   the store or the broker does not answer
├── MissingExtra (ImportError)      an optional package is not installed
├── ModelUnavailable                the model's files cannot be loaded
└── ItemError                       one task ended without a result
    ├── ItemFailed                  its engine said no, or it was quarantined
    ├── ItemTimeout (TimeoutError)  nothing was recorded in the time you gave
    ├── ItemCancelled (CancelledError)
    └── ItemExpired                 its deadline passed before it ran
"""

from concurrent.futures import CancelledError


class GenfarmError(Exception):
    """Root of every error that genfarm raises on purpose."""


class InvalidTask(GenfarmError, ValueError):
    """A request that no worker could run; nothing of it was written.

    `param` names the parameter at fault, `index` the place of the input.
    """

    def __init__(self, message: str, *, param: str | None = None, index: int | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.index = index


class InvalidSetting(GenfarmError, ValueError):
    """A setting that is missing, malformed or unsafe."""


class NotFound(GenfarmError, LookupError):
    """No job, task or model of that name."""


class JobConflict(GenfarmError):
    """A job of that name exists with other content, or was withdrawn while it was completed."""


class QueueFull(GenfarmError):
    """The farm has as many open tasks as it may have.

    Nothing of this was written; of a generator told to raise, what it gave before was, and is
    cancelled where it had not ended. `open_tasks` says how many, `limit` how many it may have.
    """

    def __init__(self, message: str, *, open_tasks: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.open_tasks = open_tasks
        self.limit = limit


class Unreachable(GenfarmError, ConnectionError):
    """The store or the broker does not answer."""


class MissingExtra(GenfarmError, ImportError):
    """An optional package is needed and not installed."""


class ModelUnavailable(GenfarmError):
    """The files of a registered model cannot be loaded here."""


class ItemError(GenfarmError):
    """One task ended without a result.

    `code` is stable and for programs (`invalid_params`, `model_unavailable`,
    `content_filtered`, `oom`, `worker_lost`, `device_lost`, `timeout`, `cancelled`,
    `expired`, `quarantined`, `not_accepted`, `internal`); the message is for people.
    """

    def __init__(
        self, message: str, *, code: str = "internal", custom_id: str = "", attempts: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.custom_id = custom_id
        self.attempts = attempts


class ItemFailed(ItemError):
    """The engine refused or failed the task, or it was quarantined."""


class ItemTimeout(ItemError, TimeoutError):
    """The task was not recorded within the time you gave; it goes on."""


class ItemCancelled(ItemError, CancelledError):
    """The task was cancelled before a result was recorded."""


class ItemExpired(ItemError):
    """The task's deadline passed before it ran."""
