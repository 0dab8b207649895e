"""The speed figures of docs/performance.md, measured again on this machine.

    python benchmarks/speed.py --data dev-v1.1.json --output results/speed.json

Each run is a ``blockskim benchmark`` of its own, so that no run meets what another left behind; its command line is
kept beside its records. Nothing else should run meanwhile. It takes about half an hour on two cores; ``--only`` picks
runs by name, and runs that the output file holds already are not repeated without ``--again``.
"""

import argparse
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

from blockskim.atomic import write_whole
from blockskim.extras import has

SCHEDULE = "3:0.5,6:0.25,9:0.125"
ENGINES = "onnx-packed,onnx-fp32,onnx-int8,packed"
RUNS = {
    "schedule": f"--shape bert-base --length 512 --keep {SCHEDULE} --batch-size 1,16"
    " --against dense-sdpa,packed,aligned",
    "needy": "--shape bert-base --length 512 --keep 3:0.25 --keep-full 1 --batch-size 16"
    " --against dense-sdpa,packed,aligned",
    "keep-all": "--shape bert-base --length 512 --keep all --batch-size 1,16 --against dense-sdpa,packed",
    "schedule-bfloat16": f"--shape bert-base --length 512 --keep {SCHEDULE} --batch-size 1,16 --dtype auto"
    " --against dense-sdpa,packed",
    "alternatives": "--data {data} --limit 64 --batch-size 1,32 --dtype auto --repeats 3 --backend torch"
    " --against packed,dense-sdpa,dense-eager,dense-eager-384,aligned{onnx}",
    "graph-latency": "--data {data} --limit 100 --batch-size 1 --threads 1 --backend onnx --against " + ENGINES,
    "graph-throughput": "--data {data} --limit 100 --batch-size 32 --backend onnx --repeats 5"
    f" --against {ENGINES},dense-sdpa-384",
    "torch-throughput": "--data {data} --limit 100 --batch-size 32 --against dense-sdpa,packed",
    "int8-latency": "--data {data} --limit 100 --batch-size 1 --threads 1 --backend onnx-int8{int8} --against "
    + ENGINES,
    "int8-throughput": "--data {data} --limit 100 --batch-size 32 --backend onnx-int8{int8} --repeats 5"
    f" --against {ENGINES},dense-sdpa-384",
}
ON_ONNX_RUNTIME = tuple(name for name, arguments in RUNS.items() if "--backend onnx" in arguments)


def main() -> None:
    """Run what is asked for, and keep what was measured after each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a SQuAD file to answer")
    parser.add_argument("--output", type=Path, required=True, help="JSON file that gets the figures")
    parser.add_argument("--only", nargs="*", choices=RUNS, help="these runs alone")
    parser.add_argument("--again", action="store_true", help="repeat runs that the output file holds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--onnx", action="store_true", help="with ONNX Runtime, as a backend and among the alternatives"
    )
    parser.add_argument(
        "--int8-model", type=Path, help="directory that was exported with --int8 --tune, for those runs"
    )
    chosen = parser.parse_args()
    results = json.loads(chosen.output.read_text()) if chosen.output.exists() else {}
    for name in chosen.only or (name for name in RUNS if chosen.onnx or name not in ON_ONNX_RUNTIME):
        if name in results and not chosen.again:
            continue
        onnx = ",onnx-fp32,onnx-int8" if chosen.onnx else ""
        int8 = f" --model {chosen.int8_model}" if chosen.int8_model else ""
        arguments = RUNS[name].format(data=chosen.data, onnx=onnx, int8=int8).split()
        threads = [] if "--threads" in arguments else ["--threads", str(chosen.threads)]
        command = ["benchmark", *arguments, *threads]
        sys.stderr.write(f"{name}: blockskim {' '.join(command)}\n")
        done = subprocess.run(
            [sys.executable, "-m", "blockskim", *command, "--json"], stdout=subprocess.PIPE, check=True, text=True
        )
        shown = " ".join(command).replace(str(chosen.data), chosen.data.name)
        shown = shown.replace(str(chosen.int8_model), "int8-export")
        results[name] = {"command": f"blockskim {shown}", **_machine(), "records": json.loads(done.stdout)}
        for line in summary(results[name]["records"]):
            sys.stderr.write(f"  {line}\n")
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(chosen.output, json.dumps(results, indent=1) + "\n")


def summary(records: list[dict[str, Any]]) -> list[str]:
    """A line for each batch size and baseline: how many times as fast, and what share of saved arithmetic is time."""
    lines = []
    own = [record for record in records if record["name"] == "blockskim"]
    # What it is measured against in the same engine.
    unskimmed = "onnx-packed" if any(record["name"] == "onnx-packed" for record in records) else "packed"
    for record in own:
        for name, speedup in record["speedup_over"].items():
            low, high = record["speedup_spread"][name]
            line = f"batch {record['batch_size']}: {speedup:.2f} ({low:.2f} - {high:.2f}) times as fast as {name}"
            baseline = next(
                other for other in records if (other["name"], other["batch_size"]) == (name, record["batch_size"])
            )
            promised = 1 - record["flops"] / baseline["flops"]
            if name == unskimmed and promised > 0:
                line += f"; {(1 - 1 / speedup) / promised:.0%} of the arithmetic saved ({promised:.1%}) is time saved"
            lines.append(line)
    return lines


def _machine() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = f"{models[0]}, {len(models)} cores" if models else processor
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "onnxruntime": version("onnxruntime") if has("onnxruntime") else None,
    }


if __name__ == "__main__":
    main()
