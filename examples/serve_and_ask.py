"""Start the service, ask it over HTTP, and stop it.

    python examples/serve_and_ask.py

The client needs nothing but the standard library; `huggingface_hub.InferenceClient` works as well.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen


@contextmanager
def service(seconds: float = 60.0) -> Iterator[str]:
    """A service in a process of its own, at the address that this gives, until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "blockskim", "serve", "--port", str(port), "--no-log-requests"]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process, seconds)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def wait_until_ready(address: str, process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait until the model is loaded.

    Raises:
        RuntimeError: the service ended, or it takes too long.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{address}/ready", timeout=5):
                return
        except URLError:
            time.sleep(0.2)
    raise RuntimeError("the service did not become ready")


def post(address: str, body: dict[str, Any]) -> Any:
    """The JSON that a route answers with."""
    request = Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as response:
        return json.load(response)


def main() -> None:
    notes = {path.name: path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("notes/*.md")}
    with service() as address:
        inputs = {"question": "When is the plum tree pruned?", "context": notes["garden.md"]}
        answer = post(address, {"inputs": inputs})
        print(f"{inputs['question']} {answer['answer']}")
        found = post(f"{address}/search", {"question": "Who services the boiler?", "documents": notes})
        best = found["answers"][0]
        print(f"Who services the boiler? {best['answer']} ({best['document']})")


if __name__ == "__main__":
    main()
