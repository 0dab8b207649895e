"""What one window takes in PyTorch, part by part: where batches of one lose time that larger batches don't.

    OMP_NUM_THREADS=1 python benchmarks/batch_one.py --threads 1
    python benchmarks/batch_one.py --shape bert-base --tokens 40 176 --threads 2

All ways take turns, and the least of many times counts, so that other work on the machine matters little. With one
thread the clock is that thread's own processor time, with more it is the time of day. Prints microseconds.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig

from blockskim.data.packed_inputs import PackedInputs
from blockskim.kernels import packed_attention
from blockskim.kernels.packed_linear import (
    Activation,
    PackedLinear,
    activation_of,
    apply_linear,
    apply_linear_and_add,
    pack_linear,
)
from blockskim.method.config import SkimConfig
from blockskim.method.skim_trace import Asking
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.packing import pack_padded
from blockskim.profiling.catalog import SHAPES
from blockskim.profiling.random_models import random_dense, random_skim
from blockskim.profiling.workloads import random_batch

Run = Callable[[], object]
SKIM = SkimConfig(block_size=16, alignment="context", inputs=("match",))
VOCABULARY = 1000
ASK_ALL = Asking(all_layers=True)
NEW_SIZES = range(11, 400, 24)
"""Numbers of tokens that nothing else here has."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Takes the least seconds of things that take turns.

    Attributes:
        seconds: how long they take turns.
        clock: what the time is read from.
    """

    seconds: float
    clock: Callable[[], float]

    def once(self, run: Run) -> float:
        """Microseconds of one run."""
        started = self.clock()
        run()
        return (self.clock() - started) * 1e6

    def least(self, runs: Mapping[str, Run]) -> dict[str, float]:
        """Least microseconds of each, by name; another one begins in every round."""
        names = list(runs)
        found = dict.fromkeys(names, float("inf"))
        end = time.monotonic() + self.seconds
        rounds = 0
        while rounds < 3 or time.monotonic() < end:
            first = rounds % len(names)
            for name in names[first:] + names[:first]:
                found[name] = min(found[name], self.once(runs[name]))
            rounds += 1
        return found


def main() -> None:
    """Time the parts and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", nargs="*", choices=SHAPES, default=["minilm-l6", "bert-base"])
    parser.add_argument("--tokens", nargs="*", type=int, default=[8, 16, 32, 64, 128, 176, 256, 384])
    parser.add_argument("--window", type=int, default=176, help="tokens of a whole window")
    parser.add_argument("--batch", type=int, default=8, help="windows of the batch that one window is compared with")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each set of ways takes turns")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    timer = Timer(chosen.seconds, time.thread_time if chosen.threads == 1 else time.perf_counter)
    capability = torch.backends.cpu.get_cpu_capability()
    sys.stdout.write(f"{capability}, PyTorch {torch.__version__}, {chosen.threads} threads\n")
    with torch.inference_mode():
        for shape in chosen.shape:
            table(f"{shape}: linear layers of one encoder layer", linear_rows(shape, chosen.tokens, timer))
            table(f"{shape}: the same, step by step, packed", step_rows(shape, chosen.tokens, timer))
            table(f"{shape}: attention of one layer", attention_rows(shape, chosen.tokens, timer))
            table(f"{shape}: first run with a number of tokens", new_size_rows(shape, timer))
            table(
                f"{shape}: a window of {chosen.window} tokens", window_rows(shape, chosen.window, chosen.batch, timer)
            )


def table(title: str, rows: Iterator[tuple[str, Mapping[str, float]]]) -> None:
    """Print rows of microseconds under the names of their columns, as they come."""
    sys.stdout.write(f"\n{title}\n")
    for number, (name, values) in enumerate(rows):
        if number == 0:
            sys.stdout.write(" " * 14 + " ".join(f"{column:>18s}" for column in values) + "\n")
        sys.stdout.write(f"{name:14s}" + " ".join(f"{value:18.0f}" for value in values.values()) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Linears:
    """The linear layers of an encoder layer.

    Attributes:
        project: query, key and value in one.
        output: what follows attention.
        up: first layer of the feed-forward part.
        down: second layer.
    """

    project: PackedLinear
    output: PackedLinear
    up: PackedLinear
    down: PackedLinear

    def run(self, hidden: Tensor, activation: Activation) -> Tensor:
        """All of them. Shape: (tokens, hidden)."""
        apply_linear(self.project, hidden)
        attended = apply_linear_and_add(self.output, hidden, hidden)
        return apply_linear_and_add(self.down, apply_linear(self.up, attended, activation), attended)


def new_linears(shape: str) -> tuple[Linears, Linears]:
    """Those of a random layer, packed as the kernel has them and plain."""
    _, hidden, _, wide = SHAPES[shape]
    layers = [nn.Linear(*sizes) for sizes in ((hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden))]
    plain = [PackedLinear(layer.weight.detach(), layer.bias.detach(), False, False) for layer in layers]
    return Linears(*(pack_linear([layer]) for layer in layers)), Linears(*plain)


FUSED = activation_of(nn.GELU())
APART = replace(FUSED, fused=None)


def linear_rows(shape: str, tokens: Sequence[int], timer: Timer) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Ways to run the linear layers; "in turn" meets weights that other layers have driven out of the cache."""
    pairs = [new_linears(shape) for _ in range(SHAPES[shape][0])]
    packed, plain = pairs[0]
    for count in tokens:
        hidden = torch.randn(count, SHAPES[shape][1])
        layers = [pair[0] for pair in pairs]
        found = timer.least(
            {
                "packed, fused": partial(packed.run, hidden, FUSED),
                "packed, apart": partial(packed.run, hidden, APART),
                "F.linear": partial(plain.run, hidden, APART),
                "in turn": partial(run_all, layers, hidden, APART),
                "in turn, F.linear": partial(run_all, [pair[1] for pair in pairs], hidden, APART),
            }
        )
        whole = {name: value / (len(pairs) if "turn" in name else 1) for name, value in found.items()}
        yield f"{count} tokens", whole


def run_all(layers: Sequence[Linears], hidden: Tensor, activation: Activation) -> None:
    """One layer after the other."""
    for layer in layers:
        layer.run(hidden, activation)


def step_rows(shape: str, tokens: Sequence[int], timer: Timer) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Each linear layer of the packed way, and GELU by itself."""
    packed, plain = new_linears(shape)
    for count in tokens:
        hidden, wide = (torch.randn(count, SHAPES[shape][place]) for place in (1, 3))
        runs: dict[str, Run] = {}
        for name, way in (("", packed), (" F.", plain)):
            runs |= {
                f"q, k, v{name}": partial(apply_linear, way.project, hidden),
                f"output{name}": partial(apply_linear_and_add, way.output, hidden, hidden),
                f"up{name}": partial(apply_linear, way.up, hidden),
                f"down{name}": partial(apply_linear_and_add, way.down, wide, hidden),
            }
        runs |= {"up, fused GELU": partial(apply_linear, packed.up, hidden, FUSED), "GELU": partial(F.gelu, wide)}
        yield f"{count} tokens", timer.least(runs)


def attention_rows(shape: str, tokens: Sequence[int], timer: Timer) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The two ways of attention in float32."""
    _, width, heads, _ = SHAPES[shape]
    for count in tokens:
        query, key, value = torch.randn(count, 3, heads, width // heads).unbind(1)
        attend = partial(packed_attention.attend_packed, query, key, value, 1.0, [count], None, False)
        yield (
            f"{count} tokens",
            timer.least({"products": partial(at_limit, attend, count + 1), "fused": partial(at_limit, attend, 0)}),
        )


def at_limit(attend: Run, long: int) -> None:
    """Attend, with fused attention from so many tokens on."""
    kept = packed_attention.LONG, packed_attention.SHORT
    packed_attention.LONG, packed_attention.SHORT = long, 0
    try:
        attend()
    finally:
        packed_attention.LONG, packed_attention.SHORT = kept


def new_size_rows(shape: str, timer: Timer) -> Iterator[tuple[str, Mapping[str, float]]]:
    """What the first run of an encoder layer's linear layers with a number of tokens takes beyond the later ones."""
    packed, plain = new_linears(shape)
    for name, layer in (("packed", packed), ("F.linear", plain)):
        first, later = [], []
        for count in NEW_SIZES:
            run = partial(layer.run, torch.randn(count, SHAPES[shape][1]), APART)
            first.append(timer.once(run))
            later.append(min(timer.once(run) for _ in range(5)))
        beyond = sorted(one - other for one, other in zip(first, later, strict=True))
        yield name, {"median": beyond[len(beyond) // 2], "least": beyond[0], "most": beyond[-1]}


def window_rows(shape: str, length: int, batch: int, timer: Timer) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The whole pass over a window: alone and in a batch, with and without predictors, and its calls alone."""
    models = {"model": random_skim(shape, length, SKIM, 0), "calls alone": narrow_model(shape, length)}
    for name, model in models.items():
        alone, together = packed(1, length), packed(batch, length)
        found = timer.least(
            {
                "alone": partial(model.score_windows, alone, 0.0),
                "alone, judged": partial(model.score_windows, alone, 0.0, ASK_ALL),
                "in a batch": partial(model.score_windows, together, 0.0),
                "in a batch, judged": partial(model.score_windows, together, 0.0, ASK_ALL),
            }
        )
        yield name, {way: value / (batch if "batch" in way else 1) for way, value in found.items()}


def narrow_model(shape: str, length: int) -> BlockSkimForQuestionAnswering:
    """A model of as many layers with one narrow head each: it makes the same calls, and next to nothing is computed."""
    sizes: dict[str, Any] = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "intermediate_size": 16,
        "max_position_embeddings": length,
    }
    config = BertConfig(vocab_size=VOCABULARY, num_hidden_layers=SHAPES[shape][0], **sizes)
    skim = replace(SKIM, predictor_width=8)
    model = BlockSkimForQuestionAnswering.from_backbone(random_dense(config, 0), skim).eval()
    model.has_trained_predictors = True
    return model


def packed(batch: int, length: int) -> PackedInputs:
    """Random windows."""
    inputs = random_batch(batch, length, VOCABULARY, 0, torch.device("cpu")).inputs
    return pack_padded(inputs, None)[0]


if __name__ == "__main__":
    main()
