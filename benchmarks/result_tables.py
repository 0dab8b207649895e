"""The tables of the README, the model card and the docs, made from what was measured.

Each function takes the results by the names of their parts and gives Markdown. A row whose part was not run is left
out, so that no figure stands anywhere that no file under ``results/`` holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Results: TypeAlias = Mapping[str, Mapping[str, Any]]

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
EVIDENCE_SETS = {
    "squad": "SQuAD 1.1 dev, ten paragraphs of an article",
    "hotpotqa": "HotpotQA dev, ten paragraphs",
    "newsqa": "NewsQA dev",
    "multispanqa": "MultiSpanQA",
}
EVIDENCE_WAYS = {
    "skimmed": "**this model, skimming**",
    "dense": "this model, reading everything",
    "first tokens": "their order in the text",
    "BM25": "BM25",
    "embeddings": "cosine of all-MiniLM-L6-v2 embeddings",
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
    both = _of(results, f"scores/{name}-balanced")
    if both:
        dense_flops, padded = both["dense_flops_per_example"], both["padded_flops_per_example"]
        rows.append(["dense", *_dense_scores(both), f"{dense_flops / 1e9:.2f}", "1.00×"])
        rows[0] += [f"{padded / dense_flops:.2f}×", f"{both['dense']['seconds']:.0f}"]
    for point in POINTS:
        found = _of(results, f"scores/{name}-{point}")
        if found:
            clock = f"{found['seconds']:.0f}"
            clock += f" ({found['wall_speedup']:.2f}×)" if "wall_speedup" in found else ""
            row = [f"`{point}`", f"{found['exact_match']:.2f}", f"{found['f1']:.2f}"]
            row += [f"{found['flops_per_example'] / 1e9:.2f}", f"**{found['flops_speedup']:.2f}×**"]
            rows.append([*row, f"{found['flops_speedup_padded']:.2f}×", clock])
    head = ["", "exact match", "F1", "GFLOPs per question", "FLOPs speed-up"]
    head += ["against dense padded to 384", "seconds (wall-clock speed-up)"]
    return _table(head, rows) + _source(results, [f"scores/{name}-{point}" for point in POINTS])


def other_data(results: Results) -> str:
    """One row a data set: dense, and at each operating point."""
    rows = []
    for name, title in DATA_SETS.items():
        both = _of(results, f"scores/{name}-balanced")
        if not both:
            continue
        row = [f"{title}, {both['total']:,.0f} questions", f"{both['dense']['f1']:.2f}"]
        for point in ("balanced", "exact", "fast"):
            found = _of(results, f"scores/{name}-{point}")
            row += [f"{found['f1']:.2f}", f"{found['flops_speedup']:.2f}×"] if found else ["", ""]
        rows.append([*row[:4], f"{both['wall_speedup']:.2f}×", *row[4:]])
    head = ["data", "dense F1", "`balanced` F1", "FLOPs speed-up", "wall-clock speed-up"]
    head += ["`exact` F1", "FLOPs speed-up", "`fast` F1", "FLOPs speed-up"]
    return _table(head, rows) + _source(results, _score_parts(results, DATA_SETS))


def losses(results: Results) -> str:
    """F1 points lost against the dense run, and FLOPs speed-up, at every operating point."""
    rows = []
    for name, title in DATA_SETS.items():
        both = _of(results, f"scores/{name}-balanced")
        if not both:
            continue
        row = [f"{title}, {both['total']:,.0f}", f"{both['dense']['f1']:.2f}"]
        for point in POINTS:
            found = _of(results, f"scores/{name}-{point}")
            lost = f"{both['dense']['f1'] - found['f1'] + 0.0:.2f}".replace("-0.00", "0.00") if found else ""
            row += [lost, f"{found['flops_speedup']:.2f}×" if found else ""]
        rows.append(row)
    head = ["data", "dense F1"]
    head += [word for point in POINTS for word in (f"`{point}`: F1 lost", "FLOPs speed-up")]
    return _table(head, rows) + _source(results, _score_parts(results, DATA_SETS))


def no_answer(results: Results) -> str:
    """Data in which questions may have no answer: scores of both kinds, and how far the confidence can be trusted."""
    rows = []
    for name, title in NO_ANSWER_SETS.items():
        found = _of(results, f"scores/{name}-balanced")
        if found and "HasAns_f1" in found:
            rows.append([f"{title}, {found['total']:,.0f}", *_squad2_scores(found)])
    forced = _of(results, "scores/squad2-must-answer")
    if forced:
        rows.append(["SQuAD 2.0 dev, half A, always answering", *_squad2_scores(forced)])
    head = ["data", "F1", "F1 where there is an answer", "right where there is none", "expected calibration error"]
    return _table(head, rows) + _source(results, [f"scores/{name}-balanced" for name in NO_ANSWER_SETS])


def why(results: Results) -> str:
    """The few figures that tell whether skimming helps."""
    scores, article = _of(results, "scores/squad-balanced"), results.get("long/joined-articles", {}).get("result", [])
    latency, throughput = _own(results, "speed/graph-latency", 1), _own(results, "speed/graph-throughput", 32)
    rows = []
    if scores:
        rows.append(["F1, SQuAD 1.1 dev", f"{scores['dense']['f1']:.1f}", f"{scores['f1']:.1f}"])
        rows.append(
            ["context blocks computed in the last layer", "100 %", f"{100 * scores['kept_by_layer'][-1]:.0f} %"]
        )
        rows.append(["wall clock, batch size 32", "1×", f"{scores['wall_speedup']:.1f}×"])
    for name, title in (("dense-sdpa", "transformers (SDPA)"), ("onnx-fp32", "ONNX Runtime (float32)")):
        for size, own in ((1, latency), (32, throughput)):
            ratio = own.get("speedup_over", {}).get(name)
            if ratio:
                rows.append([f"wall clock against {title}, batch size {size}", "", f"{ratio:.1f}×"])
    dense = next((record for record in article if record["way"] == "dense"), None)
    if dense:
        short = next(record for record in article if record["way"].startswith("passages"))
        rows.append(["whole articles: F1", f"{dense['f1']:.1f}", f"{short['f1']:.1f}"])
        rows.append(["whole articles: wall clock", "1×", f"{dense['seconds'] / short['seconds']:.1f}×"])
    parts = ["scores/squad-balanced", "speed/graph-latency", "speed/graph-throughput", "long/joined-articles"]
    return _table(["", "dense", "skimming"], rows) + _source(results, parts)


def facts(results: Results) -> str:
    """HotpotQA's supporting facts, and answer and facts together, by the official scores."""
    found = _of(results, "scores/hotpotqa-balanced")
    names = {"sp_exact_match": "exact match", "sp_f1": "F1", "sp_precision": "precision", "sp_recall": "recall"}
    names |= {"joint_f1": "answer and facts, F1"}
    rows = [[f"{found[name]:.2f}" for name in names]] if "joint_f1" in found else []
    return _table(list(names.values()), rows) + _source(results, ["scores/hotpotqa-balanced"])


def reliability(results: Results) -> str:
    """Of answers of a confidence, how many were right, on the sets that have a bin of them."""
    chosen = {name: DATA_SETS[name] for name in ("squad", "newsqa", "squad2")}
    found = {name: _of(results, f"scores/{name}-balanced").get("confidence") for name in chosen}
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
    return _table(head, rows) + _source(results, [f"scores/{name}-balanced" for name in chosen])


def clock(results: Results) -> str:
    """How many times as fast the skimming graph is as each alternative, for one window and for batches."""
    latency, throughput = _own(results, "speed/graph-latency", 1), _own(results, "speed/graph-throughput", 32)
    rows = []
    for name in ("dense-sdpa", "dense-sdpa-384", "onnx-fp32", "onnx-int8", "onnx-packed", "packed"):
        ratios = [record.get("speedup_over", {}).get(name) for record in (latency, throughput)]
        if any(ratios):
            rows.append([NAMES[name], *(f"{ratio:.2f}×" if ratio else "" for ratio in ratios)])
    parts = ["speed/graph-latency", "speed/graph-throughput"]
    return _table(["against", "batch 1, 1 thread", "batch 32, 2 threads"], rows) + _source(results, parts)


def contenders(results: Results, *parts: str) -> str:
    """Milliseconds of a batch, and how many times as fast skimming is, with quartiles; peak memory where it is seen."""
    head, rows = ["batch size", "", "ms per batch", "speed-up of skimming", "peak memory"], []
    for part in parts:
        for record in _records(results, part):
            name, size = record["name"], record["batch_size"]
            own = _own(results, part, size)
            ratio, spread = own["speedup_over"].get(name), own["speedup_spread"].get(name)
            ratio = f"{ratio:.2f}× ({spread[0]:.2f} – {spread[1]:.2f})" if ratio else ""
            title = "**skimming**" if name == "blockskim" else NAMES.get(name, name)
            memory = f"{record['peak_bytes'] / 1e6:,.0f} MB" if record.get("peak_bytes") else ""
            milliseconds = record["median_seconds"] / record["batches"] * 1e3
            rows.append([f"{size}", title, f"{milliseconds:,.1f}", ratio, memory])
    return _table(head, rows) + _source(results, parts)


def batch_sizes(results: Results) -> str:
    """Windows a second over batch sizes."""
    records = list(_records(results, "speed/batch-sizes"))
    names = list(dict.fromkeys(record["name"] for record in records))
    rows = []
    for size in dict.fromkeys(record["batch_size"] for record in records):
        found = {record["name"]: record["samples_per_second"] for record in records if record["batch_size"] == size}
        rows.append([f"{size}", *(f"{found[name]:,.0f}" if name in found else "" for name in names)])
    head = [
        "windows per second, at batch size",
        *("skimming" if name == "blockskim" else NAMES[name] for name in names),
    ]
    return _table(head, rows) + _source(results, ["speed/batch-sizes"])


def surroundings(results: Results) -> str:
    """Seconds of what surrounds the model."""
    records = results.get("speed/surroundings", {}).get("result", [])
    stages = [name for name in (records[0] if records else {}) if name not in ("batch_size", "share_of_model")]
    rows = [[name.replace("_", " "), *(f"{record[name]:.2f}" for record in records)] for name in stages]
    head = ["seconds for 300 questions", *(f"batch {record['batch_size']}" for record in records)]
    return _table(head, rows) + _source(results, ["speed/surroundings"])


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
    return _table(head, rows) + _source(results, ["long/joined-articles"])


def max_cost(results: Results) -> str:
    """F1 against a bound of the cost, on joined articles and on NewsQA."""
    rows = []
    for record in results.get("long/max-cost", {}).get("result", []):
        saved = f"{100 / record['flops_speedup']:.1f} %"
        rows.append(["joined articles", record["way"], f"{record['f1']:.2f}", saved])
    for share, title in (("half", "0.5"), ("quarter", "0.25"), ("tenth", "0.1")):
        found = _of(results, f"long/newsqa-max-cost-{share}")
        if found:
            saved = f"{100 / found['flops_speedup']:.1f} %"
            rows.append(["NewsQA dev", f"at most {title} of the cost", f"{found['f1']:.2f}", saved])
    parts = ["long/max-cost", *(f"long/newsqa-max-cost-{share}" for share in ("half", "quarter", "tenth"))]
    return _table(["data", "", "F1", "of the dense FLOPs"], rows) + _source(results, parts)


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
    return _table(["words", *ways, "FLOPs speed-up of passages"], rows) + _source(results, ["long/document-lengths"])


def evidence(results: Results) -> str:
    """How much of the text has to stay until the evidence stays, by each way to score sentences."""
    rows = []
    parts = [f"evidence/{name}" for name in EVIDENCE_SETS]
    for name, title in EVIDENCE_SETS.items():
        for questions, way in _ways(results, name):
            row = [f"{title}, {questions:,}" if not rows or rows[-1][0] != title else "", EVIDENCE_WAYS[way["way"]]]
            row += [f"{100 * way[f'tokens_at_{level}']:.1f} %" for level in (95, 98)]
            row += [f"{100 * way[f'recall_at_{level}']:.1f} %" for level in (20, 30, 50)]
            rows.append([*row, f"{way['word_f1']:.3f}"])
    head = [
        "data",
        "sentences by",
        "tokens at 95 % recall",
        "at 98 %",
        "recall at 20 % of the tokens",
        "at 30 %",
        "at 50 %",
    ]
    return _table([*head, "F1 of words"], rows) + _source(results, parts)


def evidence_cost(results: Results) -> str:
    """What highlighting costs while skimming, beside reading everything, and what it loses."""
    rows = []
    for name, title in EVIDENCE_SETS.items():
        ways = {way["way"]: way for _, way in _ways(results, name)}
        if ways:
            own, dense = ways["skimmed"], ways["dense"]
            lost = [f"{100 * (dense[f'recall_at_{level}'] - own[f'recall_at_{level}']):+.1f}" for level in (20, 30, 50)]
            saved = [
                f"{own['flops_speedup'] / dense['flops_speedup']:.2f}×",
                f"{dense['seconds'] / own['seconds']:.2f}×",
            ]
            rows.append([title, *lost, *saved])
    head = ["data", "points of recall lost at 20 % of the tokens", "at 30 %", "at 50 %"]
    head += ["FLOPs speed-up", "wall-clock speed-up"]
    return _table(head, rows) + _source(results, [f"evidence/{name}" for name in EVIDENCE_SETS])


def serving(results: Results) -> str:
    """How the service bears load, and what a soak run found."""
    load, soak, rows = _of(results, "serving/load"), _of(results, "serving/soak"), []
    if load:
        saturated, share = load["saturation"]["per_second"], load["share_of_evaluate"]
        half = f"{load['half']['p99']:.0f} ms, {load['half_p99_over_single_p50']:.1f}× a request alone"
        rows += [
            ["requests per second at saturation", f"{saturated:.1f}"],
            ["windows per second, of those of `evaluate`", f"{100 * share:.0f} %"],
            ["p99 at half of that rate", half],
            ["p95 of short requests beside texts of 20,000 words", f"{load['short_p95_beside_over_alone']:.1f}× alone"],
        ]
        names = {"plain": "one request at a time behind FastAPI", "litserve": "LitServe with batching"}
        rows += [
            [f"throughput against transformers' dense model, {title}", f"{load[name]['times']:.1f}×"]
            for name, title in names.items()
            if name in load
        ]
    if soak:
        memory = soak["memory_mb"]
        rows += [
            ["soak run: answers compared with the library's", f"{soak['compared']:,}"],
            ["wrong", f"{soak['wrong']:,}"],
            ["workers killed", f"{soak['workers_killed']}"],
            [
                "memory in the second and in the last quarter",
                f"{memory['second_quarter']} and {memory['last_quarter']} MB",
            ],
        ]
    return _table(["", ""], rows) + _source(results, ["serving/load", "serving/soak"])


def bulk(results: Results) -> str:
    """Memory, speed and resuming of ``blockskim bulk``."""
    rows = []
    for part, title in (("memory-million", "a random model of two layers"), ("memory", "the default model")):
        found = _of(results, f"bulk/{part}")
        if found:
            rate = f"{found['rows'] / found['seconds']:,.0f}"
            rows.append([f"{found['rows']:,} rows, {title}: rows per second", rate])
            rows.append(["peak memory of all processes", f"{found['peak_mb']:,.0f} MB"])
    kills, workers, overhead = (_of(results, f"bulk/{part}") for part in ("kills", "workers", "overhead"))
    if kills:
        rows.append([f"{kills['rows']:,} rows, killed {kills['kills']} times: output as without", _yes(kills["same"])])
    if workers:
        rows.append(["two workers against one", f"{workers['speedup']:.2f}×"])
    if overhead:
        rows.append(["windows per second against `predict`", f"{100 * overhead['beside_predict']:.0f} %"])
        rows.append(["share of the time that is the model's", f"{100 * overhead['model_share']:.0f} %"])
    names = ("memory-million", "memory", "kills", "workers", "overhead")
    return _table(["", ""], rows) + _source(results, [f"bulk/{name}" for name in names])


TABLES: Mapping[str, Callable[[Results], str]] = {
    "why": why,
    "squad": lambda results: one_set(results, "squad"),
    "newsqa": lambda results: one_set(results, "newsqa"),
    "hotpotqa": lambda results: one_set(results, "hotpotqa"),
    "quoref": lambda results: one_set(results, "quoref"),
    "squad2": lambda results: one_set(results, "squad2"),
    "other-data": other_data,
    "losses": losses,
    "no-answer": no_answer,
    "facts": facts,
    "reliability": reliability,
    "clock": clock,
    "graph": lambda results: contenders(results, "speed/graph-latency", "speed/graph-throughput"),
    "torch": lambda results: contenders(results, "speed/torch-latency", "speed/torch-throughput"),
    "batch-sizes": batch_sizes,
    "surroundings": surroundings,
    "joined-articles": joined_articles,
    "max-cost": max_cost,
    "evidence": evidence,
    "evidence-cost": evidence_cost,
    "serving": serving,
    "bulk": bulk,
    "document-lengths": document_lengths,
    "kernels-schedule": lambda results: contenders(results, "experiments/kernels-schedule"),
    "kernels-one-reads-all": lambda results: contenders(results, "experiments/kernels-one-reads-all"),
    "kernels-keep-all": lambda results: contenders(results, "experiments/kernels-keep-all"),
}
"""By the name that stands in a document's marker."""


def _of(results: Results, part: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = results.get(part, {}).get("result", {})
    return found


def _ways(results: Results, name: str) -> list[tuple[int, Mapping[str, Any]]]:
    """The ways to find evidence in a set, each with the number of its questions."""
    found = _of(results, f"evidence/{name}").get("sets", {}).get(name, {"questions": 0, "ways": []})
    return [(found["questions"], way) for way in found["ways"] if way["way"] in EVIDENCE_WAYS]


def _records(results: Results, part: str) -> Iterable[Mapping[str, Any]]:
    records: Iterable[Mapping[str, Any]] = results.get(part, {}).get("result", [])
    return records


def _own(results: Results, part: str, batch_size: int) -> Mapping[str, Any]:
    """The record of what skims, or an empty one."""
    own = (r for r in _records(results, part) if r["name"] == "blockskim" and r["batch_size"] == batch_size)
    return next(own, {})


def _dense_scores(both: Mapping[str, Any]) -> list[str]:
    return [f"{both['dense']['exact_match']:.2f}", f"{both['dense']['f1']:.2f}"]


def _squad2_scores(found: Mapping[str, Any]) -> list[str]:
    error = found.get("confidence", {}).get("expected_calibration_error")
    scores = [f"{found['f1']:.2f}", f"{found['HasAns_f1']:.2f}", f"{found.get('NoAns_f1', float('nan')):.2f}"]
    return [*scores, "" if error is None else f"{error:.3f}"]


def _score_parts(results: Results, names: Iterable[str]) -> list[str]:
    parts = (f"scores/{name}-{point}" for name in names for point in POINTS)
    return [part for part in parts if part in results]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "Not measured for this model yet.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _source(results: Results, parts: Iterable[str]) -> str:
    """Where, when and by what commands the figures came about."""
    found = [results[part] for part in parts if part in results]
    if not found:
        return ""
    dates = sorted({part["date"] for part in found})
    machines = dict.fromkeys(_machine(part["machine"]) for part in found)
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    commands = "; ".join(f"`{command}`" for command in dict.fromkeys(part["command"] for part in found))
    several = len(dict.fromkeys(part["command"] for part in found)) > 3
    how = "`results/` holds the commands" if several else commands
    return f"\n{'; '.join(machines)}; {when}; {how}\n"


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['cores']} cores, {machine['processor']} ({', '.join(machine['instructions'])})"
