"""Results of a generator's inputs while the generator is still being read.

One thread, the caller's, does both in turn, so that a generator is never run
on a thread its author did not think of.
"""

from collections.abc import Iterator

from genfarm.following import Ordered, Pacer, Unordered
from genfarm.label import Request
from genfarm.link import Link
from genfarm.result import Errors, Result, make_result, sift
from genfarm.submission import Stream

#: Inputs written ahead of the results taken: one window of the broker.
READ_AHEAD = 10_000


def flow(link: Link, request: Request, *, ordered: bool, errors: Errors) -> Iterator[Result]:
    """Write the request's inputs and give out what has ended, in turn.

    Nothing is written before the first result is asked for. Closed early, it
    abandons the stream: what has not ended is cancelled.
    """
    stream = Stream(link, request)
    job_id = stream.record.id
    reader = Ordered(link.store, job_id) if ordered else Unordered(link.store, job_id)
    pacer = Pacer(None, "")
    given = 0
    try:
        while not (stream.is_done and given == stream.written):
            may_feed = not stream.is_done and stream.written - given < READ_AHEAD
            if may_feed:
                stream.feed()
            ready = reader.poll()
            for record in ready:
                given += 1
                yield from sift(make_result(record, link.artifacts), errors)
            if ready or may_feed:
                pacer.hear()
            else:
                pacer.rest()
    finally:
        if not (stream.is_done and given == stream.written):
            stream.abandon()
