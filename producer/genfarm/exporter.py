"""Serves the farm's metrics over HTTP: `GET /metrics`, and nothing else. Knows no metric."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.metrics import CONTENT_TYPE


def make_exporter(address: str, render: Callable[[], str]) -> ThreadingHTTPServer:
    """A server on `host:port` that calls `render` for each scrape; port 0 takes a free one.

    Raises InvalidSetting, or Unreachable where it cannot listen there. There is
    no password: what it says holds no prompt and no result.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            if urlsplit(self.path).path != "/metrics":
                self._answer(404, "there is only /metrics\n")
                return
            try:
                text = render()
            except Unreachable as error:
                self._answer(503, f"{error}\n")
            else:
                self._answer(200, text)

        def _answer(self, code: int, text: str) -> None:
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Scrapes are no news."""

    host, port = _split(address)
    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise Unreachable(
            f"cannot listen on {address}: {error.strerror or error}. Choose another port, or an "
            "address of this computer"
        ) from error
    server.daemon_threads = True
    return server


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise InvalidSetting(f"--serve {address}: expected HOST:PORT, such as 127.0.0.1:9105")
    return host.strip("[]"), int(port)
