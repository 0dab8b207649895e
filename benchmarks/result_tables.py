"""The tables of the README, the model card and the docs, made from what was measured.

Each function takes the results by the names of their parts and gives Markdown. A row whose part was not run is left
out, so that no figure stands anywhere that no file under ``results/`` holds.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import use_tables
from table_parts import Results, of, records_of, source, table

DATA_SETS = {
    "squad": "SQuAD 1.1 dev",
    "newsqa": "NewsQA dev",
    "hotpotqa": "HotpotQA dev",
    "quoref": "Quoref",
    "squad2": "SQuAD 2.0 dev, half A",
}
NO_ANSWER_SETS = {
    "squad2": "SQuAD 2.0 dev, half A",
    "disfl-qa": "Disfl-QA, half A",
    "molweni": "Molweni test",
}
POINTS = ("exact", "balanced", "fast")
NAMES = {
    "onnx-packed": "the same graph, nothing dropped",
    "onnx-fp32": "dense, ONNX Runtime, float32",
    "onnx-int8": "dense, ONNX Runtime, int8",
    "packed": "dense, PyTorch, this library",
    "dense-sdpa": "dense, transformers, SDPA",
    "dense-sdpa-384": "the same, padded to 384",
    "dense-eager": "dense, transformers, eager",
    "dense-eager-384": "the same, padded to 384",
    "aligned": "batch-aligned skimming (the paper's scheme)",
}


def one_set(results: Results, name: str) -> str:
    """Scores and cost of one data set, dense and at every operating point."""
    rows = []
    both = of(results, f"scores/{name}-balanced")
    if both:
        dense_flops, padded = both["dense_flops_per_example"], both["padded_flops_per_example"]
        rows.append(["dense", *_dense_scores(both), f"{dense_flops / 1e9:.2f}", "1.00×"])
        rows[0] += [f"{padded / dense_flops:.2f}×", f"{both['dense']['seconds']:.0f}"]
    for point in POINTS:
        found = of(results, f"scores/{name}-{point}")
        if found:
            # Seconds that were not taken in turns with the dense run, perhaps on another machine, compare with nothing.
            timed = "wall_speedup" in found
            clock = f"{found['seconds']:.0f} ({found['wall_speedup']:.2f}×)" if timed else ""
            row = [f"`{point}`", f"{found['exact_match']:.2f}", f"{found['f1']:.2f}"]
            row += [f"{found['flops_per_example'] / 1e9:.2f}", f"**{found['flops_speedup']:.2f}×**"]
            rows.append([*row, f"{found['flops_speedup_padded']:.2f}×", clock])
    head = ["", "exact match", "F1", "GFLOPs per question", "FLOPs speed-up"]
    head += ["against dense padded to 384", "seconds (wall-clock speed-up)"]
    return table(head, rows) + source(results, [f"scores/{name}-{point}" for point in POINTS])


def other_data(results: Results) -> str:
    """One row a data set: dense, and at each operating point."""
    rows = []
    for name, title in DATA_SETS.items():
        both = of(results, f"scores/{name}-balanced")
        if not both:
            continue
        row = [f"{title}, {both['total']:,.0f} questions", f"{both['dense']['f1']:.2f}"]
        for point in ("balanced", "exact", "fast"):
            found = of(results, f"scores/{name}-{point}")
            row += [f"{found['f1']:.2f}", f"{found['flops_speedup']:.2f}×"] if found else ["", ""]
        rows.append([*row[:4], f"{both['wall_speedup']:.2f}×", *row[4:]])
    head = ["data", "dense F1", "`balanced` F1", "FLOPs speed-up", "wall-clock speed-up"]
    head += ["`exact` F1", "FLOPs speed-up", "`fast` F1", "FLOPs speed-up"]
    return table(head, rows) + source(results, _score_parts(results, DATA_SETS))


def losses(results: Results) -> str:
    """F1 points lost against the dense run, and FLOPs speed-up, at every operating point."""
    rows = []
    for name, title in DATA_SETS.items():
        both = of(results, f"scores/{name}-balanced")
        if not both:
            continue
        row = [f"{title}, {both['total']:,.0f}", f"{both['dense']['f1']:.2f}"]
        for point in POINTS:
            found = of(results, f"scores/{name}-{point}")
            lost = f"{both['dense']['f1'] - found['f1'] + 0.0:.2f}".replace("-0.00", "0.00") if found else ""
            row += [lost, f"{found['flops_speedup']:.2f}×" if found else ""]
        rows.append(row)
    head = ["data", "dense F1"]
    head += [word for point in POINTS for word in (f"`{point}`: F1 lost", "FLOPs speed-up")]
    return table(head, rows) + source(results, _score_parts(results, DATA_SETS))


def base_size(results: Results) -> str:
    """An encoder of BERT-base's size on the first questions of some sets: plain, with Block-Skim, and skimming."""
    rows: list[list[str]] = []
    parts = []
    for name, title in DATA_SETS.items():
        ways = {way: f"experiments/base-size-{name}-{way}" for way in ("plain", *POINTS)}
        parts += [part for part in ways.values() if part in results]
        plain = of(results, ways["plain"])
        if not plain:
            continue
        rows.append([f"{title}, {plain['total']:,.0f} questions", "plain", f"{plain['f1']:.2f}", *[""] * 4])
        measured = [(point, of(results, ways[point])) for point in POINTS if ways[point] in results]
        for _, found in measured[:1]:
            padded = found["padded_flops_per_example"] / found["dense_flops_per_example"]
            row = ["", "Block-Skim, dense", f"{found['dense']['f1']:.2f}", "", "1.00×", f"{padded:.2f}×"]
            rows.append([*row, f"{found['dense']['seconds']:.0f}"])
        for point, found in measured:
            dense = found["dense"]
            row = ["", f"`{point}`", f"{found['f1']:.2f}", f"{dense['f1'] - found['f1']:.2f}"]
            row += [f"**{found['flops_speedup']:.2f}×**", f"{found['flops_speedup_padded']:.2f}×"]
            rows.append([*row, f"{found['seconds']:.0f} ({found['wall_speedup']:.2f}×)"])
    head = ["data", "", "F1", "F1 lost", "FLOPs speed-up", "against dense padded to 384"]
    return table([*head, "seconds (wall-clock speed-up)"], rows) + source(results, parts)


def no_answer(results: Results) -> str:
    """Data in which questions may have no answer: scores of both kinds, and how far the confidence can be trusted."""
    rows = []
    for name, title in NO_ANSWER_SETS.items():
        found = of(results, f"scores/{name}-balanced")
        if found and "HasAns_f1" in found:
            rows.append([f"{title}, {found['total']:,.0f}", *_squad2_scores(found)])
    forced = of(results, "scores/squad2-must-answer")
    if forced:
        rows.append(["SQuAD 2.0 dev, half A, always answering", *_squad2_scores(forced)])
    head = ["data", "F1", "F1 where there is an answer", "right where there is none", "expected calibration error"]
    return table(head, rows) + source(results, [f"scores/{name}-balanced" for name in NO_ANSWER_SETS])


def why(results: Results) -> str:
    """The few figures that tell whether skimming helps."""
    scores = of(results, "scores/squad-balanced")
    sizes = {1: _own(results, "speed/graph-latency", 1), 32: _own(results, "speed/graph-throughput", 32)}
    rows = []
    if scores:
        rows.append(["F1, SQuAD 1.1 dev", f"{scores['dense']['f1']:.1f}", f"{scores['f1']:.1f}"])
        rows.append(
            ["context blocks computed in the last layer", "100 %", f"{100 * scores['kept_by_layer'][-1]:.0f} %"]
        )
    for name, title in (("dense-sdpa", "transformers (SDPA)"), ("onnx-fp32", "ONNX Runtime (float32)")):
        ratios = {size: own["speedup_over"][name] for size, own in sizes.items() if name in own.get("speedup_over", {})}
        if ratios:
            which = "batch size " + " and ".join(f"{size} ({_threads(sizes[size])})" for size in ratios)
            times = " and ".join(f"{ratio:.1f}×" for ratio in ratios.values())
            rows.append([f"wall clock against {title}, {which}", "", times])
    parts = ["scores/squad-balanced", "speed/graph-latency", "speed/graph-throughput"]
    return table(["", "dense", "skimming"], rows) + source(results, parts)


def facts(results: Results) -> str:
    """HotpotQA's supporting facts, and answer and facts together, by the official scores."""
    found = of(results, "scores/hotpotqa-balanced")
    names = {"sp_exact_match": "exact match", "sp_f1": "F1", "sp_precision": "precision", "sp_recall": "recall"}
    names |= {"joint_f1": "answer and facts, F1"}
    rows = [[f"{found[name]:.2f}" for name in names]] if "joint_f1" in found else []
    return table(list(names.values()), rows) + source(results, ["scores/hotpotqa-balanced"])


def reliability(results: Results) -> str:
    """Of answers of a confidence, how many were right, on the sets that have a bin of them."""
    chosen = {name: DATA_SETS[name] for name in ("squad", "newsqa", "squad2")}
    found = {name: of(results, f"scores/{name}-balanced").get("confidence") for name in chosen}
    known = {name: values for name, values in found.items() if values}
    lows = sorted({part["low"] for values in known.values() for part in values["bins"]})
    rows = []
    for low in lows:
        row = []
        for values in known.values():
            part = next((part for part in values["bins"] if part["low"] == low), None)
            row += [f"{part['count']:,}", f"{part['right']:.2f}"] if part and part["count"] else ["", ""]
        high = min(part["high"] for values in known.values() for part in values["bins"] if part["low"] == low)
        rows.append([f"{low:.2f} to {high:.2f}", *row])
    if known:
        errors = [word for values in known.values() for word in ("", f"{values['expected_calibration_error']:.3f}")]
        rows.append(["expected calibration error", *errors])
    head = ["confidence", *(word for name in known for word in (f"{chosen[name]}: answers", "right"))]
    return table(head, rows) + source(results, [f"scores/{name}-balanced" for name in chosen])


def clock(results: Results) -> str:
    """How many times as fast the skimming graph is as each alternative, for one window and for batches."""
    latency, throughput = _own(results, "speed/graph-latency", 1), _own(results, "speed/graph-throughput", 32)
    rows = []
    for name in ("dense-sdpa", "dense-sdpa-384", "onnx-fp32", "onnx-int8", "onnx-packed", "packed"):
        ratios = [record.get("speedup_over", {}).get(name) for record in (latency, throughput)]
        if any(ratios):
            rows.append([NAMES[name], *(f"{ratio:.2f}×" if ratio else "" for ratio in ratios)])
    parts = ["speed/graph-latency", "speed/graph-throughput"]
    return table(["against", "batch 1, 1 thread", "batch 32, 2 threads"], rows) + source(results, parts)


def contenders(results: Results, *parts: str) -> str:
    """Milliseconds of a batch, and how many times as fast skimming is, with quartiles; peak memory where it is seen."""
    head, rows = ["batch size", "", "ms per batch", "speed-up of skimming", "peak memory"], []
    for part in parts:
        for record in records_of(results, part):
            name, size = record["name"], record["batch_size"]
            own = _own(results, part, size)
            ratio, spread = own["speedup_over"].get(name), own["speedup_spread"].get(name)
            ratio = f"{ratio:.2f}× ({spread[0]:.2f} – {spread[1]:.2f})" if ratio else ""
            title = "**skimming**" if name == "blockskim" else NAMES.get(name, name)
            memory = f"{record['peak_bytes'] / 1e6:,.0f} MB" if record.get("peak_bytes") else ""
            milliseconds = record["median_seconds"] * 1e3
            rows.append([f"{size}", title, f"{milliseconds:,.1f}", ratio, memory])
    return table(head, rows) + source(results, parts)


def batch_sizes(results: Results) -> str:
    """Windows a second over batch sizes."""
    records = list(records_of(results, "speed/batch-sizes"))
    names = list(dict.fromkeys(record["name"] for record in records))
    rows = []
    for size in dict.fromkeys(record["batch_size"] for record in records):
        found = {record["name"]: record["samples_per_second"] for record in records if record["batch_size"] == size}
        rows.append([f"{size}", *(f"{found[name]:,.0f}" if name in found else "" for name in names)])
    head = [
        "windows per second, at batch size",
        *("skimming" if name == "blockskim" else NAMES[name] for name in names),
    ]
    return table(head, rows) + source(results, ["speed/batch-sizes"])


def surroundings(results: Results) -> str:
    """Seconds of what surrounds the model."""
    records = results.get("speed/surroundings", {}).get("result", [])
    if not records:
        return table([], [])
    stages = [name for name in records[0] if name not in ("batch_size", "questions", "share")]
    rows = [[name, *(f"{record[name]:.2f}" for record in records)] for name in stages]
    rows.append(["all but the model, of the model's", *(f"{100 * record['share']:.1f} %" for record in records)])
    head = [f"seconds for {records[0]['questions']} questions", *(f"batch {r['batch_size']}" for r in records)]
    return table(head, rows) + source(results, ["speed/surroundings"])


def joined_articles(results: Results) -> str:
    """Whole articles as documents, by each way to read them."""
    records = results.get("long/joined-articles", {}).get("result", [])
    dense = next((record for record in records if record["way"] == "dense"), None)
    rows = []
    for record in records:
        faster = f" ({dense['seconds'] / record['seconds']:.1f}×)" if dense and record is not dense else ""
        row = [record["way"], f"{record['f1']:.2f}", f"{record['exact_match']:.1f}", f"{record['flops_speedup']:.2f}×"]
        rows.append([*row, f"{record['windows']:,}", f"{record['seconds']:.0f}{faster}"])
    head = ["", "F1", "exact match", "FLOPs speed-up", "windows read", "seconds (wall-clock speed-up)"]
    return table(head, rows) + source(results, ["long/joined-articles"])


def overlap(results: Results) -> str:
    """Texts of several windows that overlap by more or less, dense and skimming."""
    rows, parts = [], []
    for name in ("newsqa", "hotpotqa"):
        for title, part in (("128", f"scores/{name}-balanced"), ("32", f"long/{name}-overlap")):
            both = of(results, part)
            if both:
                flops = [both[key] / 1e9 for key in ("dense_flops_per_example", "flops_per_example")]
                row = [DATA_SETS[name], title, f"{both['dense']['f1']:.2f}", f"{both['f1']:.2f}"]
                rows.append([*row, *(f"{value:.2f}" for value in flops), f"{both['flops_speedup']:.2f}×"])
                parts.append(part)
    head = ["data", "tokens of overlap", "dense F1", "`balanced` F1", "GFLOPs per question, dense", "`balanced`"]
    return table([*head, "FLOPs speed-up"], rows) + source(results, parts)


def max_cost(results: Results) -> str:
    """F1 against a bound of the cost, on joined articles and on NewsQA."""
    rows = []
    for record in results.get("long/max-cost", {}).get("result", []):
        saved = f"{100 / record['flops_speedup']:.1f} %"
        rows.append(["joined articles", record["way"], f"{record['f1']:.2f}", saved])
    for share, title in (("half", "0.5"), ("quarter", "0.25"), ("tenth", "0.1")):
        found = of(results, f"long/newsqa-max-cost-{share}")
        if found:
            saved = f"{100 / found['flops_speedup']:.1f} %"
            rows.append(["NewsQA dev", f"at most {title} of the cost", f"{found['f1']:.2f}", saved])
    parts = ["long/max-cost", *(f"long/newsqa-max-cost-{share}" for share in ("half", "quarter", "tenth"))]
    return table(["data", "", "F1", "of the dense FLOPs"], rows) + source(results, parts)


def document_lengths(results: Results) -> str:
    """Seconds and memory over the length of a document, by each way to read it."""
    records = results.get("long/document-lengths", {}).get("result", [])
    ways = list(dict.fromkeys(record["way"] for record in records))
    rows = []
    for words in dict.fromkeys(record["words"] for record in records):
        found = {record["way"]: record for record in records if record["words"] == words}
        row = [f"{words:,}"]
        for way in ways:
            record = found.get(way)
            row.append(f"{record['seconds']:.2f} s, {record['added_mb']:,.0f} MB" if record else "")
        first = found.get("passages", {})
        saved = f"{first['dense_gflops'] / first['gflops']:.1f}×" if first.get("gflops") else ""
        rows.append([*row, saved])
    return table(["words", *ways, "FLOPs speed-up of passages"], rows) + source(results, ["long/document-lengths"])


TABLES: Mapping[str, Callable[[Results], str]] = {
    "why": why,
    "squad": lambda results: one_set(results, "squad"),
    "newsqa": lambda results: one_set(results, "newsqa"),
    "hotpotqa": lambda results: one_set(results, "hotpotqa"),
    "quoref": lambda results: one_set(results, "quoref"),
    "squad2": lambda results: one_set(results, "squad2"),
    "other-data": other_data,
    "losses": losses,
    "base-size": base_size,
    "no-answer": no_answer,
    "facts": facts,
    "reliability": reliability,
    "clock": clock,
    "graph": lambda results: contenders(results, "speed/graph-latency", "speed/graph-throughput"),
    "torch": lambda results: contenders(results, "speed/torch-latency", "speed/torch-throughput"),
    "batch-sizes": batch_sizes,
    "surroundings": surroundings,
    "joined-articles": joined_articles,
    "overlap": overlap,
    "max-cost": max_cost,
    "evidence": use_tables.evidence,
    "evidence-cost": use_tables.evidence_cost,
    "evidence-call": use_tables.evidence_call,
    "serving": use_tables.serving,
    "bulk": use_tables.bulk,
    "bulk-plan": use_tables.bulk_plan,
    "training-memory": use_tables.training_memory,
    "document-lengths": document_lengths,
    "kernels-schedule": lambda results: contenders(results, "experiments/kernels-schedule"),
    "kernels-one-reads-all": lambda results: contenders(results, "experiments/kernels-one-reads-all"),
    "kernels-keep-all": lambda results: contenders(results, "experiments/kernels-keep-all"),
    "operating-points-figure": lambda results: figure(
        results,
        "scores/sweep",
        "![F1 lost against arithmetic saved, the shipped model and published results](../figures/operating-points.png)",
    ),
    "batch-sizes-figure": lambda results: figure(
        results, "speed/batch-sizes", "![Windows a second over batch sizes](figures/batch-sizes.png)"
    ),
    "document-lengths-figure": lambda results: figure(
        results,
        "long/document-lengths",
        "![Seconds and memory over the length of a document](figures/document-lengths.png)",
    ),
}
"""By the name that stands in a document's marker."""


def figure(results: Results, part: str, line: str) -> str:
    """A line that shows a figure, once it can be drawn."""
    return f"{line}\n" if part in results else "Not measured for this model yet.\n"


def _own(results: Results, part: str, batch_size: int) -> Mapping[str, Any]:
    """The record of what skims, or an empty one."""
    own = (r for r in records_of(results, part) if r["name"] == "blockskim" and r["batch_size"] == batch_size)
    return next(own, {})


def _threads(record: Mapping[str, Any]) -> str:
    return "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"


def _dense_scores(both: Mapping[str, Any]) -> list[str]:
    return [f"{both['dense']['exact_match']:.2f}", f"{both['dense']['f1']:.2f}"]


def _squad2_scores(found: Mapping[str, Any]) -> list[str]:
    error = found.get("confidence", {}).get("expected_calibration_error")
    scores = [f"{found['f1']:.2f}", f"{found['HasAns_f1']:.2f}", f"{found.get('NoAns_f1', float('nan')):.2f}"]
    return [*scores, "" if error is None else f"{error:.3f}"]


def _score_parts(results: Results, names: Iterable[str]) -> list[str]:
    parts = (f"scores/{name}-{point}" for name in names for point in POINTS)
    return [part for part in parts if part in results]
