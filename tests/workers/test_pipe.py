"""A message is taken when it is whole, and nobody waits for the rest of one."""

import socket
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from genfarm_shared.tasks import Claim
from genfarm_workers.engines import Output, Picture
from genfarm_workers.pipe import Pipe


def test_a_half_message_blocks_nobody_and_is_whole_once_the_rest_is_there() -> None:
    output = Output("t", {"value": 1}, [Picture(64, 64, bytes(64 * 64 * 3))] * 2)
    sent = _sent(output)
    right, left = socket.socketpair()
    pipe = Pipe(Connection(left.detach()))
    with right:
        for cut in (0, 4, 20, len(sent) // 2, len(sent) - 1):
            right.sendall(sent[:cut])
            assert pipe.receive(0.01) is None
            right.sendall(sent[cut:] + sent)
            for _ in range(2):
                message = pipe.receive(1.0)
                assert message is not None
                assert message["outputs"] == [output]
    pipe.close()


def test_a_large_blob_is_sent_without_a_copy_of_it() -> None:
    claim = Claim("t", "job", 1, "image-to-text", "m", "m", 1, {}, 0)
    claim.files["image"] = bytes(1 << 24)
    right, left = socket.socketpair()
    pipe, other = Pipe(Connection(left.detach())), Pipe(Connection(right.detach()))
    with ThreadPoolExecutor(1) as pool:
        tracemalloc.start()
        sending = pool.submit(pipe.send_claims, [claim])
        assert other._connection.poll(10)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        message = other.receive(10.0)
        sending.result(10)
    assert message is not None
    assert message["claims"] == [claim]
    assert most < 1 << 20
    pipe.close()
    other.close()


def _sent(output: Output) -> bytes:
    """That output as it is in the pipe."""
    right, left = socket.socketpair()
    pipe = Pipe(Connection(left.detach()))
    pipe.send_outputs([output])
    pipe.close()
    with right, right.makefile("rb") as file:
        return file.read()
