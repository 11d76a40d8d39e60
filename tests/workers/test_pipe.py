"""A message is taken when it is whole, and nobody waits for the rest of one."""

import socket
from multiprocessing.connection import Connection

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


def _sent(output: Output) -> bytes:
    """That output as it is in the pipe."""
    right, left = socket.socketpair()
    pipe = Pipe(Connection(left.detach()))
    pipe.send_outputs([output])
    pipe.close()
    with right, right.makefile("rb") as file:
        return file.read()
