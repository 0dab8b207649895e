"""transformers' dense model behind LitServe, with its batching on; ``serve_baselines.py`` starts it."""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from typing import Any

from serve_baselines import DenseAnswerer, tell

try:
    import litserve
except ModuleNotFoundError:
    sys.exit("error: this needs LitServe, which is not installed: pip install litserve")

TRIES = 240
"""To ask the server whether it answers yet, half a second apart."""


class Api(litserve.LitAPI):  # type: ignore[misc, name-defined, unused-ignore]
    """One question and its context a request. LitServe starts a process with a copy of this."""

    def __init__(self, model: str | None, threads: int, dtype: str, batch: int) -> None:
        """Nothing is loaded before ``setup``."""
        super().__init__(max_batch_size=batch, batch_timeout=0.005, api_path="/")
        self._wanted = (model, threads, dtype)

    def setup(self, device: str) -> None:
        """Load the model in the process that runs it."""
        self._answerer = DenseAnswerer(*self._wanted)

    def decode_request(self, request: dict[str, Any]) -> tuple[str, str]:
        """A pair of a question and a context."""
        return request["inputs"]["question"], request["inputs"]["context"]

    def batch(self, inputs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Pairs as they are."""
        return inputs

    def predict(self, inputs: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Answers to all of them."""
        return self._answerer(inputs)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers as they are."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """An answer as it is."""
        return output


def serve_litserve(model: str | None, threads: int, dtype: str, port: int, batch: int) -> None:
    """Serve until told to stop."""
    server = litserve.LitServer(Api(model, threads, dtype, batch), accelerator="cpu")
    tell("listening", url=f"http://127.0.0.1:{port}")
    threading.Thread(target=_tell_when_ready, args=(port,), daemon=True).start()
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


def _tell_when_ready(port: int) -> None:
    """Say so once it answers; end the process if it never does."""
    body = json.dumps({"inputs": {"question": "Is it warm?", "context": "It is warm."}}).encode()
    headers = {"Content-Type": "application/json"}
    for _ in range(TRIES):
        try:
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers)
            with urllib.request.urlopen(asked, timeout=60):
                tell("ready")
                return
        except OSError:
            time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
