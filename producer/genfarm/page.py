"""Handles as a line of text and as a small card of HTML. Escapes whatever a user wrote.

Knows no store: it shows what it is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote, urlsplit

from genfarm.retrying import hint
from genfarm.status import JobStatus
from genfarm_shared.tasks import JobRecord, State

#: Colours are left to the notebook's theme, so that a dark one stays readable.
_CARD = "border:1px solid #8884;border-radius:6px;padding:8px 12px;max-width:640px"


def summary(status: JobStatus) -> str:
    """How a job stands, in one line."""
    counts = [f"{state.value} {n}" for state, n in status.counts.items() if n]
    said = " · ".join(counts) or "empty"
    if status.total is None:
        said += " · inputs still being written"
    if not status.is_done:
        return said + (f" · {_minutes(status.eta)} left" if status.eta is not None else "")
    said += f" · {_minutes(status.elapsed)} · {status.rate:.1f}/s"
    return said + (f"  next: job.errors(), {hint(status.counts)}" if status.failed else "")


def job_card(job: JobRecord, status: JobStatus, flower_url: str | None) -> str:
    """A job for a notebook: head, bar and counts."""
    total = status.total or sum(status.counts.values()) or 1
    done = status.counts[State.SUCCEEDED] / total * 100
    failed = status.failed / total * 100
    link = ""
    if flower_url and urlsplit(flower_url).scheme in ("http", "https"):
        url = f"{flower_url.rstrip('/')}/tasks?search=args:{quote(job.id)}"
        link = f' · <a href="{escape(url)}" target="_blank" rel="noopener">Flower</a>'
    return (
        f'<div style="{_CARD}"><b>{escape(job.name or job.id)}</b> '
        f"<code>{escape(job.id)}</code> {escape(job.kind)} · {escape(job.model)}{link}"
        '<div style="display:flex;height:8px;background:#8883;border-radius:4px;overflow:hidden">'
        f'<div style="width:{done:.1f}%;background:#2a9d5c"></div>'
        f'<div style="width:{failed:.1f}%;background:#d1495b"></div></div>'
        f"<small>{escape(summary(status))}</small></div>"
    )


def farm_card(about: Mapping[str, str], workers: Iterable[Sequence[str]]) -> str:
    """A farm for a notebook: where it is, and a row per worker."""
    lines = "<br>".join(
        f"{escape(key)} <code>{escape(value)}</code>" for key, value in about.items()
    )
    rows = table(("worker", "device", "state", "models"), workers)
    return f'<div style="{_CARD}"><b>Farm</b><br>{lines}{rows}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of plain text."""
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
