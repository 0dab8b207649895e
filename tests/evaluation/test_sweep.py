import io
import json
import random
from dataclasses import replace

import pytest
from rich.console import Console

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from blockskim.evaluation import sweep as sweeping
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.evaluation.published import PEERS, relative_loss
from blockskim.evaluation.sweep import (
    calibrated_settings,
    global_settings,
    run_sweep,
    windows_to_sweep,
)
from blockskim.evaluation.sweep_records import SweepRecord, parse_thresholds
from blockskim.evaluation.sweep_report import save_sweep_plots, sweep_table
from tiny_answerers import new_model
from tiny_tokenizers import WORDS, fixed_tokenizer


@pytest.fixture(scope="module")
def model():
    return new_model(thresholds=0.3, points={"fast": [0.6, 0.0], "own": 0.3})


@pytest.fixture(scope="module")
def windows(model):
    choose = random.Random(0)
    words = [word for word in WORDS if word.isalpha()]
    metadata = (("format", "squad"), ("version", "1.1"))
    examples = [
        Example(str(number), "when ?", " ".join(choose.choice(words) for _ in range(60)), (), ("?",), metadata=metadata)
        for number in range(8)
    ]
    tokenizer, settings = fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10)
    found = evaluate_windows(model, make_windows(examples, tokenizer, settings), 8, 0.0).predictions
    return make_windows([replace(one, references=(found[one.id],)) for one in examples], tokenizer, settings)


def test_data_that_tells_no_answers_is_refused(model, windows):
    asked = [replace(example, annotated=False, source="test.json") for example in windows.examples]
    unknown = make_windows(asked, fixed_tokenizer("wordpiece"), windows.settings)
    with pytest.raises(DataError, match=r"^test\.json: its questions have no answers"):
        run_sweep(model, unknown, global_settings([0.5], model.skim_layers))


def test_thresholds_are_read():
    assert parse_thresholds("0.5,0, 0.25,0.5") == (0.0, 0.25, 0.5)
    for wrong in ("", "0,,1", "0.5,2", "-0.1", "nan", "all"):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            parse_thresholds(wrong)


def test_calibrated_settings_are_points_and_front(model):
    front = {"front": [{"thresholds": [0.1, 0.0]}, {"thresholds": [0.2, 0.3]}]}
    settings = calibrated_settings(model, front)
    assert [(one.kind, one.name) for one in settings] == [
        ("point", "fast"),
        ("point", "own"),
        ("front", "1"),
        ("front", "2"),
    ]
    assert settings[0].thresholds == (0.6, 0.0)
    # The model's own thresholds have no line of their own where a point has the same.
    assert settings[1].thresholds == (0.3, 0.3)
    other = new_model(thresholds=0.2)
    assert [one.name for one in calibrated_settings(other, {})] == ["own"]
    # A point of that name is another.
    named = new_model(thresholds=0.2, points={"own": 0.3})
    assert [(one.kind, one.name, one.thresholds) for one in calibrated_settings(named, {})] == [
        ("point", "own", (0.3, 0.3)),
        ("own", "own", (0.2, 0.2)),
    ]
    other.skim_config = other.skim_config.replace(thresholds=0.0)
    with pytest.raises(ConfigError, match="calibrate"):
        calibrated_settings(other, {})
    assert [one.name for one in calibrated_settings(other, {"front": [{"thresholds": [0.1, 0.2]}]})] == ["1"]
    with pytest.raises(ConfigError, match="1 thresholds for 2 layers"):
        calibrated_settings(other, {"front": [{"thresholds": [0.1]}]})


def test_records_say_what_evaluation_says(model, windows):
    settings = [*global_settings((0.0, 0.5), (1, 2)), *calibrated_settings(model, {})]
    done, kept = [], []
    records = run_sweep(model, windows, settings, 4, keep=kept.append, progress=done.append)
    assert [(one.kind, one.name) for one in records] == [
        ("dense", "dense"),
        ("threshold", "0"),
        ("threshold", "0.5"),
        ("point", "fast"),
        ("point", "own"),
    ]
    # Nothing dropped is measured once, whatever it is called.
    assert sum(done) == windows_to_sweep(windows, settings, 4, False) == 4 * len(windows)
    assert len(kept) == 4
    for record in records:
        result = evaluate_windows(model, windows, 4, record.thresholds)
        assert (record.f1, record.exact_match) == (result.scores["f1"], result.scores["exact_match"])
        assert record.flops_speedup == result.cost.dense_flops / result.cost.flops
        assert record.flops_speedup_padded > record.flops_speedup
        assert record.f1_loss == pytest.approx(100 - record.f1)  # of a dense F1 of 100
        assert record.wall_speedup is record.seconds is None
    assert records[0].flops_speedup == records[1].flops_speedup == 1.0 < records[2].flops_speedup


def test_timed(model, windows):
    settings = global_settings((0.0, 0.5), (1, 2))
    done = []
    records = run_sweep(model, windows, settings, 4, timed=True, progress=done.append)
    assert [record.wall_speedup is not None for record in records] == [False, False, True]
    assert records[2].seconds > 0
    assert sum(done) == windows_to_sweep(windows, settings, 4, True)


def test_what_is_known_is_not_measured_again(model, windows, monkeypatch):
    settings = global_settings((0.3, 0.5), (1, 2))
    whole = run_sweep(model, windows, settings, 4)
    kept = []
    run_sweep(model, windows, settings[:1], 4, keep=kept.append)
    known = [SweepRecord.from_dict(json.loads(json.dumps(record.to_dict()))) for record in kept[-1]]
    runs = []
    evaluate = sweeping.evaluate_windows

    def counting(*given, **settings):
        runs.append(given[3])
        return evaluate(*given, **settings)

    monkeypatch.setattr(sweeping, "evaluate_windows", counting)
    assert run_sweep(model, windows, settings, 4, known=known) == whole
    assert runs == [(0.5, 0.5)]
    with pytest.raises(ConfigError, match="no record"):
        SweepRecord.from_dict({"kind": "dense"})


def test_loss_is_relative_to_the_own_dense_model():
    assert relative_loss(72.0, 80.0) == pytest.approx(10.0)
    assert relative_loss(0.0, 0.0) == 0.0
    losses = {peer.name: round(peer.f1_loss, 2) for peer in PEERS}
    assert losses == {"Block-Skim (paper)": -0.23, "DeFormer": 1.47, "Length-Adaptive Transformer": -0.23}


RECORDS = [
    SweepRecord("dense", "dense", (0.0, 0.0), 70.0, 80.0, 0.0, 100, 1.0, 2.0),
    SweepRecord("threshold", "0.1", (0.1, 0.1), 69.5, 79.6, 0.5, 80, 1.25, 2.5, 1.1, 3.0),
    SweepRecord("front", "1", (0.1, 0.0), 69.8, 79.8, 0.25, 85, 1.18, 2.35, 1.05, 3.2),
    SweepRecord("point", "fast", (0.3, 0.4), 65.0, 76.0, 5.0, 50, 2.0, 4.0, 1.6, 2.0),
]


def test_table_has_a_line_a_record_and_seconds_only_where_there_are_some():
    texts = []
    for records in (RECORDS, [replace(record, wall_speedup=None, seconds=None) for record in RECORDS]):
        out = Console(file=io.StringIO(), width=200)
        out.print(sweep_table(records, 384))
        texts.append(out.file.getvalue())
    for shown in ("fast", "79.60", "5.00", "1.250", "padded to 384", "1.600"):
        assert shown in texts[0]
    assert "seconds" in texts[0]
    assert "seconds" not in texts[1]


def test_plots_say_what_is_compared(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figures = []
    # Choosing a backend closes "all" in older versions.
    monkeypatch.setattr(pyplot, "close", lambda figure: figure == "all" or figures.append(figure))
    paths = save_sweep_plots(RECORDS, 384, tmp_path)
    assert [path.name for path in paths] == ["flops.png", "seconds.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flops.png", "seconds.png"]
    labels = figures[0].axes[0].get_legend_handles_labels()[1]
    for peer in PEERS:
        assert any(peer.name in label and "as published, against padded input" in label for label in labels)
    assert any("padded to 384" in label for label in labels)
    assert "%" in figures[0].axes[0].get_ylabel()
    with pytest.raises(ConfigError, match="can't be written"):
        save_sweep_plots(RECORDS, 384, tmp_path / "nowhere")


def test_a_line_joins_thresholds_and_fronts_alone(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figures = []
    monkeypatch.setattr(pyplot, "close", lambda figure: figure == "all" or figures.append(figure))
    save_sweep_plots([*RECORDS, replace(RECORDS[3], kind="own", name="own")], 384, tmp_path)
    for figure in figures:
        drawn = {line.get_label(): line.get_linestyle() != "None" for line in figure.axes[0].lines}
        joined = {label.partition(",")[0]: is_joined for label, is_joined in drawn.items() if label[0] != "_"}
        assert joined["one threshold in all layers"] and joined["calibrated front"]
        assert not joined["operating points"] and not joined["the model's own thresholds"]
