"""Servers to compare with: transformers' dense model, with the same weights, behind FastAPI or behind LitServe.

    python benchmarks/serve_baselines.py plain --port 0
    python benchmarks/serve_baselines.py litserve --port 8099

``plain`` answers one request at a time. ``litserve`` has LitServe's batching on, and needs ``pip install litserve``.
Both take what ``POST /`` of ``blockskim serve`` takes, for one question, and cut long texts into windows of 384 tokens.
"""

import argparse
import json
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import torch

from blockskim.inference.loading import load
from blockskim.model.transformers_model import transformers_model

LENGTH, STRIDE, LONGEST = 384, 128, 15


class DenseAnswerer:
    """transformers' model as people use it: padded batches, the best span over the windows of each text."""

    def __init__(self, model: str | None, threads: int, dtype: str) -> None:
        """Load a model's weights into transformers' own class."""
        torch.set_num_threads(threads)
        loaded = load(model, dtype=dtype)
        self.model: Any = transformers_model(loaded.model, "sdpa")
        self.tokenizer: Any = loaded.tokenizer
        self([("Is it warm?", "It is warm.")])

    @torch.no_grad()
    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The best answer to each question."""
        questions, contexts = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        batch = self.tokenizer(
            questions,
            contexts,
            truncation="only_second",
            max_length=LENGTH,
            stride=STRIDE,
            padding=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        owners = batch.pop("overflow_to_sample_mapping").tolist()
        offsets = batch.pop("offset_mapping").tolist()
        out = self.model(**batch)
        found: list[dict[str, Any]] = [{"answer": "", "start": 0, "end": 0, "score": float("-inf")} for _ in pairs]
        for row, owner in enumerate(owners):
            inside = torch.tensor([part == 1 for part in batch.sequence_ids(row)])
            starts = out.start_logits[row].masked_fill(~inside, float("-inf"))
            ends = out.end_logits[row].masked_fill(~inside, float("-inf"))
            scores = torch.triu(starts[:, None] + ends[None, :]).tril(LONGEST - 1)
            scores[scores == 0] = float("-inf")
            first, last = divmod(int(scores.argmax()), scores.shape[1])
            score = float(scores[first, last])
            if score > found[owner]["score"]:
                start, end = offsets[row][first][0], offsets[row][last][1]
                found[owner] = {"answer": contexts[owner][start:end], "start": start, "end": end, "score": score}
        return found


def serve_plain(answerer: DenseAnswerer, port: int) -> None:
    """Behind FastAPI: every request on a thread, and the model for one of them at a time."""
    import uvicorn
    from fastapi import Body, FastAPI

    api, one = FastAPI(), threading.Lock()

    @api.post("/")
    def answer(asked: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        with one:
            return answerer([(asked["inputs"]["question"], asked["inputs"]["context"])])[0]

    with socket.create_server(("127.0.0.1", port), backlog=2048) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tell("listening", url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        tell("ready")
        uvicorn.Server(uvicorn.Config(api, log_config=None, access_log=False)).run(sockets=[listener])


def tell(event: str, **more: Any) -> None:
    """Log as the service does."""
    sys.stderr.write(json.dumps({"event": event, **more}) + "\n")
    sys.stderr.flush()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("server", choices=["plain", "litserve"])
    parser.add_argument("--model")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    if chosen.server == "plain":
        serve_plain(DenseAnswerer(chosen.model, chosen.threads, chosen.dtype), chosen.port)
    else:
        from serve_litserve import serve_litserve

        serve_litserve(chosen.model, chosen.threads, chosen.dtype, chosen.port, chosen.batch)


if __name__ == "__main__":
    main()
