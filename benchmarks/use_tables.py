"""Tables of what is built on the model: evidence, the service, files of any size."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from table_parts import Results, of, source, table

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


def evidence(results: Results) -> str:
    """How much of the text has to stay until the evidence stays, by each way to score sentences."""
    rows: list[list[str]] = []
    parts = [f"evidence/{name}" for name in EVIDENCE_SETS]
    for name, title in EVIDENCE_SETS.items():
        for number, (questions, way) in enumerate(_ways(results, name)):
            row = ["" if number else f"{title}, {questions:,} questions", EVIDENCE_WAYS[way["way"]]]
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
    return table([*head, "F1 of words"], rows) + source(results, parts)


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
    return table(head, rows) + source(results, [f"evidence/{name}" for name in EVIDENCE_SETS])


def evidence_call(results: Results) -> str:
    """Seconds of one call over many documents."""
    call, rows = of(results, "evidence/one-call"), []
    if call:
        asked = f"{call['documents']} documents of {call['words']} words"
        ways = [f"{call['seconds']:.1f} s", f"{call['dense_seconds']:.1f} s", f"{call['speedup']:.1f}×"]
        rows = [[asked, f"{call['threads']}", *ways]]
    head = ["one question over", "threads", "skimming", "reading everything", "speed-up"]
    return table(head, rows) + source(results, ["evidence/one-call"])


def serving(results: Results) -> str:
    """How the service bears load, and what a soak run found."""
    load, soak, rows = of(results, "serving/load"), of(results, "serving/soak"), []
    if load:
        saturated, share = load["saturation"]["per_second"], load["share_of_evaluate"]
        times = f"{load['half_p99_over_single_p50']:.1f}× the median of a request alone (median of the rounds)"
        half = f"{load['half']['p99']:.0f} ms, {times}"
        rows += [
            ["requests per second at saturation", f"{saturated:.1f}"],
            ["windows per second, of those of `evaluate`", f"{100 * share:.0f} %"],
            ["p99 at half of that rate", half],
            ["p95 of short requests beside texts of 20,000 words", f"{load['short_p95_beside_over_alone']:.1f}× alone"],
        ]
        number_format = f" in {load['conditions']['dtype']}" if "dtype" in load["conditions"] else ""
        names = {"plain": "one request at a time behind FastAPI", "litserve": "LitServe with batching"}
        rows += [
            [f"throughput against transformers' dense model{number_format}, {title}", f"{load[name]['times']:.1f}×"]
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
    return table(["", ""], rows) + source(results, ["serving/load", "serving/soak"])


def bulk(results: Results) -> str:
    """Memory, speed and resuming of ``blockskim bulk``."""
    rows = []
    for part, title in (("memory-million", "a random model of two layers"), ("memory", "the default model")):
        found = of(results, f"bulk/{part}")
        if found:
            rows.append(
                [f"{found['rows']:,} rows, {title}: peak memory of all processes", f"{found['peak_mb']:,.0f} MB"]
            )
            both = f"{found['early_mb']:,.0f} and {found['late_mb']:,.0f} MB"
            rows.append(["memory in the second and in the last quarter", both])
    kills, workers, rays, overhead = (of(results, f"bulk/{part}") for part in ("kills", "workers", "ray", "overhead"))
    if kills:
        rows.append([f"{kills['rows']:,} rows, killed {kills['kills']} times: output as without", _yes(kills["same"])])
    if workers:
        rate = workers["rows"] / median(workers["one_seconds"])
        rows.append(["one worker of one thread, the default model: rows per second", f"{rate:.0f}"])
        rows.append(["two workers against one", f"{workers['speedup']:.2f}×"])
    if rays:
        rows.append(["two actors of Ray against two workers", f"{rays['beside_workers']:.2f}×"])
    if overhead:
        rows.append(["windows per second against `predict`", f"{100 * overhead['beside_predict']:.0f} %"])
        rows.append(["share of the time that is the model's", f"{100 * overhead['model_share']:.0f} %"])
    names = ("memory-million", "memory", "kills", "workers", "ray", "overhead")
    return table(["", ""], rows) + source(results, [f"bulk/{name}" for name in names])


def bulk_plan(results: Results) -> str:
    """Many machines, simulated from a run on one."""
    found, rows = of(results, "bulk/plan"), []
    for plan in found.get("plans", []):
        shares = [f"{100 * plan[name]:.1f} %" for name in ("efficiency", "waiting", "lost", "idle")]
        size = [f"{plan['machines']:,}", f"{plan['machines'] * plan['workers_each']:,}"]
        rows.append(
            [*size, f"{plan['hours']:,.1f}", f"{plan['rows_per_second']:,.0f}", *shares, f"{plan['cost']:,.0f}"]
        )
    head = ["machines", "workers", "hours", "rows per second", "into shards", "waiting for storage", "lost to failures"]
    return table([*head, "idle at start and end", "cost"], rows) + source(results, ["bulk/plan"])


def training_memory(results: Results) -> str:
    """Memory of a training run on many questions."""
    found, rows = of(results, "training/memory-million"), []
    if found:
        asked = [f"{found['questions']:,.0f} questions, {found['words']:.0f} words each", f"{found['peak_mb']:,.0f} MB"]
        phases = [f"{found[f'{phase}_mb']:,.0f} MB" for phase in ("reading", "tokenising", "training")]
        rows = [[*asked, *phases, f"{found['windows_mb']:,.0f} MB"]]
    head = ["data", "peak memory", "reading", "tokenising", "training", "windows on disk"]
    return table(head, rows) + source(results, ["training/memory-million"])


def _ways(results: Results, name: str) -> list[tuple[int, Mapping[str, Any]]]:
    """The ways to find evidence in a set, each with the number of its questions."""
    found = of(results, f"evidence/{name}").get("sets", {}).get(name, {"questions": 0, "ways": []})
    return [(found["questions"], way) for way in found["ways"] if way["way"] in EVIDENCE_WAYS]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
