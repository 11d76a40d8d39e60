"""What Prometheus reads of a farm: by its own parser, and over HTTP."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families

from genfarm.exporter import make_exporter
from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.goodput import Goodput
from genfarm_shared.metrics import render
from genfarm_shared.store import Store
from tests.shared.farmyard import add_job, add_worker


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Value by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_tasks_workers_and_goodput_are_said(store: Store) -> None:
    add_job(store, 3, model='a "quoted" \\ model')
    add_worker(store, "w1")
    spent = Goodput(useful=3.0, padding=1.0, idle=10.0).to_json()
    store.beat("w1", {"in_hand": 2, "goodput": {"minute": spent, "total": spent}})
    found = samples(render(store))
    assert found["genfarm_tasks", "pending"] == 3
    assert found["genfarm_tasks", "succeeded"] == 0
    assert found["genfarm_queue_depth", 'a "quoted" \\ model'] == 3
    assert found["genfarm_workers", "alive"] == 1
    assert found["genfarm_worker_in_hand", "w1@test", "cpu"] == 2
    assert found["genfarm_worker_goodput_ratio", "w1@test", "cpu"] == 0.75
    assert found["genfarm_worker_seconds_total", "w1@test", "cpu", "padding"] == 1.0


def test_a_worker_that_was_never_busy_has_no_goodput(store: Store) -> None:
    add_worker(store, "w1")
    names = {name for name, *_ in samples(render(store))}
    assert "genfarm_worker_in_hand" in names
    assert "genfarm_worker_goodput_ratio" not in names


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_they_are_served_and_an_outage_is_said_and_survived() -> None:
    answers = iter(["one 1\n", None, "two 2\n"])

    def answer() -> str:
        text = next(answers)
        if text is None:
            raise Unreachable("the store is away")
        return text

    with serving(make_exporter("127.0.0.1:0", answer)) as url:
        assert ask(f"{url}/metrics") == (200, "one 1\n")
        assert ask(f"{url}/metrics") == (503, "the store is away\n")
        assert ask(f"{url}/metrics?again") == (200, "two 2\n")
        assert ask(f"{url}/jobs")[0] == 404


def test_an_address_that_cannot_be_is_said_before_anything_starts() -> None:
    for address in ("9105", "host:", "host:99999"):
        with pytest.raises(InvalidSetting, match="expected HOST:PORT"):
            make_exporter(address, str)
    with pytest.raises(Unreachable, match="cannot listen"):
        make_exporter("192.0.2.1:9105", str)
