"""Copies of a model with other settings."""

import json

from blockskim.inference.loading import load
from blockskim.surgery.settings_copy import copy_with_settings
from tiny_answerers import save_model

STATE = (
    *("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_0.pth", "training_args.bin"),
    *("trainer_state.json", "training_log.json", "inputs.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("pytorch_model-00001-of-00002.bin", "tf_model.h5", "flax_model.msgpack", "model.pt"),
)


def test_state_of_training_weights_in_other_formats_and_folders_stay_behind(tmp_path):
    source = save_model(tmp_path / "source")
    own = ("recipe.json", "data.json", "LICENSE", "vocab.txt", "model.onnx", "export.json")
    for name in (*own, *STATE):
        (source / name).write_text("{}")
    (source / "checkpoints").mkdir()
    before = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file() and path.name not in STATE}
    assert before.keys() >= {*own, "model.safetensors", "tokenizer.json"}
    copy_with_settings(load(source, "cpu"), tmp_path / "copy", lambda values: values["skim"].update(thresholds=0.25))
    after = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert json.loads(after.pop("config.json"))["skim"]["thresholds"] == 0.25
    before.pop("config.json")
    assert after == before
