"""LitServe on a registry's model, with its batching on: a stock call a batch.

`python -m genfarm_workers.benchmark.litserver --port P --model JSON` serves
`POST /predict` with the parameters of one task. Needs the extra `bench`.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import litserve

from genfarm_workers.benchmark.stock import stock_call
from genfarm_workers.catalog import ModelEntry

#: Seconds that LitServe waits for a batch to fill: long enough for a client that answers at
#: once, which is the best case for its rate.
FILL_SECONDS = 0.02
#: Seconds that a request may wait.
PATIENCE = 3600.0


class StockAPI(litserve.LitAPI):  # type: ignore[misc]  # litserve has no types
    """What LitServe calls."""

    def __init__(self, entry: ModelEntry) -> None:
        super().__init__(max_batch_size=entry.slots, batch_timeout=FILL_SECONDS)
        self._entry = entry

    def setup(self, device: str) -> None:
        self._call = stock_call(self._entry, device)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._call(tasks)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="genfarm_workers.benchmark.litserver")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=ModelEntry.model_validate_json, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    api = StockAPI(given.model)
    server = litserve.LitServer(api, accelerator=given.device, devices=1, timeout=PATIENCE)
    server.run(host="127.0.0.1", port=given.port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
