"""Tables of the documents: that they are what was measured with the shipped weights, to the digit."""

import json
import re

import pytest


@pytest.fixture
def tables(script):
    return script("result_tables")


@pytest.fixture
def fill(script):
    return script("fill_tables")


@pytest.fixture
def files(script):
    return script("result_files")


def test_every_result_is_of_the_shipped_weights_and_of_the_command_that_is_listed(fill, files):
    assert fill.outdated(files.read_parts()[0], files.read_results()) == []


def test_every_table_is_what_was_measured(fill, files):
    results = files.read_results()
    found = set()
    for document in fill.documents():
        text = document.read_text(encoding="utf-8")
        found |= set(re.findall(r"<!-- table: ([\w-]+) -->", text))
        assert fill.filled(text, results) == text, f"{document}: run benchmarks/fill_tables.py"
    assert found == set(fill.TABLES)


def test_no_result_is_kept_that_no_part_makes(files):
    known = {part.path for part in files.read_parts()[0]}
    folders = ("scores", "long", "speed", "evidence", "serving", "bulk")
    kept = {file for folder in folders for file in (files.RESULTS / folder).rglob("*.json")}
    assert kept <= known


def part(result, command="blockskim evaluate --data dev.json", **others):
    machine = {"processor": "Some Processor", "cores": 2, "instructions": ["avx2"]}
    return {"result": result, "command": command, "date": "2026-01-02", "machine": machine, "weights": "d", **others}


SCORES = {
    "exact_match": 67.49,
    "f1": 77.654,
    "total": 10570,
    "flops_per_example": 2.2137e9,
    "dense_flops_per_example": 4.1436e9,
    "padded_flops_per_example": 9.7059e9,
    "flops_speedup": 1.8718,
    "flops_speedup_padded": 4.3844,
    "seconds": 56.2,
    "dense": {"exact_match": 67.77, "f1": 78.02, "seconds": 83.4},
    "wall_speedup": 1.494,
}


def test_one_data_set_has_a_row_for_all_that_was_measured(tables):
    assert tables.one_set({"scores/squad-balanced": part(SCORES)}, "squad").splitlines() == [
        "|  | exact match | F1 | GFLOPs per question | FLOPs speed-up | against dense padded to 384 "
        "| seconds (wall-clock speed-up) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| dense | 67.77 | 78.02 | 4.14 | 1.00× | 2.34× | 83 |",
        "| `balanced` | 67.49 | 77.65 | 2.21 | **1.87×** | 4.38× | 56 (1.49×) |",
        "",
        "2 cores, Some Processor (avx2); 2026-01-02; `blockskim evaluate --data dev.json`",
    ]


def test_seconds_are_told_only_where_they_were_taken_beside_the_dense_run(tables):
    fast = {name: value for name, value in SCORES.items() if name not in ("dense", "wall_speedup")}
    results = {"scores/squad-balanced": part(SCORES), "scores/squad-fast": part({**fast, "seconds": 12.0})}
    lines = tables.one_set(results, "squad").splitlines()
    assert lines[3].endswith("| 56 (1.49×) |") and lines[4].startswith("| `fast` |") and lines[4].endswith("|  |")


def test_losses_are_against_the_dense_run_of_the_same_data(tables):
    fast = {**SCORES, "f1": 76.0, "flops_speedup": 2.5}
    lines = tables.losses({"scores/squad-balanced": part(SCORES), "scores/squad-fast": part(fast)}).splitlines()
    assert lines[2] == "| SQuAD 1.1 dev, 10,570 | 78.02 |  |  | 0.37 | 1.87× | 2.02 | 2.50× |"


def test_a_larger_model_is_told_plain_dense_and_skimming(tables):
    results = {"experiments/base-size-squad-plain": part({"f1": 84.5, "total": 2000})}
    results |= {f"experiments/base-size-squad-{point}": part(SCORES) for point in ("balanced", "fast")}
    assert tables.base_size(results).splitlines()[2:6] == [
        "| SQuAD 1.1 dev, 2,000 questions | plain | 84.50 |  |  |  |  |",
        "|  | Block-Skim, dense | 78.02 |  | 1.00× | 2.34× | 83 |",
        "|  | `balanced` | 77.65 | 0.37 | **1.87×** | 4.38× | 56 (1.49×) |",
        "|  | `fast` | 77.65 | 0.37 | **1.87×** | 4.38× | 56 (1.49×) |",
    ]


def test_seconds_of_a_batch_are_told_as_they_were_measured(tables):
    ours = {"name": "blockskim", "batch_size": 32, "batches": 4, "median_seconds": 0.25}
    ours |= {"speedup_over": {"packed": 1.5}, "speedup_spread": {"packed": [1.25, 1.75]}, "peak_bytes": 46e6}
    other = {"name": "packed", "batch_size": 32, "batches": 4, "median_seconds": 0.375}
    results = {"speed/torch-throughput": part([ours, other])}
    assert tables.contenders(results, "speed/torch-throughput").splitlines()[2:4] == [
        "| 32 | **skimming** | 250.0 |  | 46 MB |",
        "| 32 | dense, PyTorch, this library | 375.0 | 1.50× (1.25 – 1.75) |  |",
    ]


def test_what_surrounds_the_model_is_told_in_seconds_and_as_a_share(tables):
    record = {"batch_size": 8, "questions": 300, "windows": 0.05, "model": 2.0, "share": 0.0481}
    assert tables.surroundings({"speed/surroundings": part([record])}).splitlines()[:5] == [
        "| seconds for 300 questions | batch 8 |",
        "| --- | --- |",
        "| windows | 0.05 |",
        "| model | 2.00 |",
        "| all but the model, of the model's | 4.8 % |",
    ]


def test_every_table_of_nothing_says_so(tables):
    for name, table in tables.TABLES.items():
        assert table({}) == "Not measured for this model yet.\n", name


def test_a_wrong_digit_is_found(fill):
    results = {"scores/squad-balanced": part(SCORES)}
    text = "Before\n<!-- table: squad -->\n<!-- end of table -->\nAfter\n"
    right = fill.filled(text, results)
    assert right.startswith("Before\n<!-- table: squad -->\n|")
    assert right.endswith("<!-- end of table -->\nAfter\n")
    assert fill.filled(right, results) == right
    assert fill.filled(right.replace("77.65", "77.85"), results) == right


def test_markers_that_mean_nothing_are_refused(fill):
    with pytest.raises(ValueError, match="no table 'squid'"):
        fill.filled("<!-- table: squid -->\n<!-- end of table -->\n", {})
    with pytest.raises(ValueError, match="no end"):
        fill.filled("<!-- table: squad -->\nno end\n", {})


def test_a_sentence_about_the_marks_is_no_mark(fill):
    text = "Tables stand between `<!-- table: … -->` marks.\n"
    assert fill.filled(text, {}) == text


def test_other_weights_and_other_commands_are_told(fill, files):
    known = files.Part("scores/one", "blockskim evaluate", True, False, 1)
    kept = part(SCORES, template="blockskim evaluate --dense")
    assert [line.split(" was ")[1] for line in fill.outdated([known], {"scores/one": kept})] == [
        "measured with other weights than the shipped ones",
        "measured by another command than benchmarks/results.yaml has",
    ]


def test_every_figure_was_drawn_from_what_is_kept(script, files):
    draw = script("draw_results")
    drawn = json.loads(draw.DRAWN.read_text())
    results = files.read_results()
    expected = {name: part for name, (part, _) in draw.FIGURES_BY_NAME.items() if part in results}
    assert drawn == {name: draw.source_digest(results[part]) for name, part in expected.items()}
    for name in expected:
        assert (draw.FIGURES / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "result"),
    [
        (
            "document-lengths",
            [
                {"way": way, "words": words, "seconds": 1.0, "added_mb": 2.0}
                for way in ("passages", "dense")
                for words in (200, 2000)
            ],
        ),
        (
            "batch-sizes",
            [{"name": "blockskim", "batch_size": size, "samples_per_second": 9.0 * size} for size in (1, 2, 4)],
        ),
    ],
)
def test_figures_are_drawn(script, tmp_path, name, result):
    pytest.importorskip("matplotlib")
    draw = script("draw_results").FIGURES_BY_NAME[name][1]
    draw(result, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_no_result_tells_where_files_lay(files):
    for file in files.RESULTS.rglob("*.json"):
        places = re.findall(r'"(?:/|[A-Z]:\\\\)[^"]*"', file.read_text(encoding="utf-8"))
        # Routes of the service begin with a slash, too.
        assert [place for place in places if place.count("/") > 1] == [], file
