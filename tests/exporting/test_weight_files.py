"""Weights are read where they lie in a safetensors file, in whatever number format they have."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from blockskim.errors import ModelError
from blockskim.exporting.weight_files import SAMPLE, external_weight, fingerprint, float_rows, open_rows, stored_tensors

FORMATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.full((300,), 0.5), "d": torch.tensor(2.0)}


@pytest.fixture
def path(tmp_path):
    save_file(TENSORS, tmp_path / "weights.safetensors", metadata={"format": "pt"})
    return tmp_path / "weights.safetensors"


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=4).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(list(FORMATS)), st.lists(st.integers(0, 4), max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_every_tensor_is_found_where_it_lies(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file({name: torch.randn(shape).to(FORMATS[kind]) for name, (kind, shape) in tensors.items()}, path)
    found, data = stored_tensors(path), path.read_bytes()
    expected = load_file(path)
    assert set(found) == set(expected)
    for name, entry in found.items():
        value = expected[name]
        assert (entry.number_format, entry.shape) == (tensors[name][0], tuple(value.shape))
        raw = value.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        assert data[entry.offset : entry.offset + entry.num_bytes] == raw


@pytest.mark.parametrize("kind", FORMATS)
def test_onnx_runtime_reads_them_as_float32(tmp_path, kind):
    onnxruntime = pytest.importorskip("onnxruntime")
    helper = pytest.importorskip("onnx").helper
    value = torch.randn(3, 4).to(FORMATS[kind])
    save_file({"other": torch.ones(5), "weight": value}, tmp_path / "weights.safetensors")
    tensor = stored_tensors(tmp_path / "weights.safetensors")["weight"]
    stored, cast = external_weight("weight", tensor, "weights.safetensors")
    assert (cast is None) == (kind == "F32")
    nodes = [*([] if cast is None else [cast]), helper.make_node("Identity", ["weight"], ["result"])]
    outputs = [helper.make_tensor_value_info("result", 1, [3, 4])]
    graph = helper.make_graph(nodes, "test", [], outputs, [stored])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (found,) = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {})
    assert found.dtype == np.float32
    assert np.array_equal(found, value.float().numpy())


def test_other_number_formats_are_refused(tmp_path):
    pytest.importorskip("onnx")
    save_file({"weight": torch.arange(3)}, tmp_path / "weights.safetensors")
    tensor = stored_tensors(tmp_path / "weights.safetensors")["weight"]
    with pytest.raises(ModelError, match=r"weight 'weight' is stored as I64; it must be one of F32, F16, BF16, F64"):
        external_weight("weight", tensor, "weights.safetensors")


def rewritten(path, change):
    """Change the header of a file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


HEADERS = {
    "no-offsets": lambda header: header["a"].pop("data_offsets"),
    "no-shape": lambda header: header["a"].pop("shape"),
    "no-type": lambda header: header["a"].pop("dtype"),
    "one-offset": lambda header: header["a"].update(data_offsets=[0]),
    "offsets-are-text": lambda header: header["a"].update(data_offsets="ab"),
    "negative": lambda header: header["a"].update(data_offsets=[-4, 20]),
    "backwards": lambda header: header["a"].update(data_offsets=[24, 0]),
    "shape-is-a-number": lambda header: header["a"].update(shape=6),
    "entry-is-a-list": lambda header: header.update(a=[1]),
    "entry-is-nothing": lambda header: header.update(a=None),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_damaged_header(path, change):
    rewritten(path, change)
    for read in (stored_tensors, fingerprint):
        with pytest.raises(ModelError, match="its header is damaged") as caught:
            read(path)
        assert str(path) in str(caught.value)


CONTENTS = {
    "empty": lambda data: b"",
    "three-bytes": lambda data: data[:3],
    "length-alone": lambda data: data[:8],
    "half-a-header": lambda data: data[:60],
    "garbage": lambda data: b"\x93" * len(data),
    "zeros": lambda data: bytes(len(data)),
    "no-json": lambda data: data[:8] + b"x" * (len(data) - 8),
    "a-list": lambda data: struct.pack("<Q", 2) + b"[]",
    "deep": lambda data: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "cut-off": lambda data: data[:-1],
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_file(path, content):
    path.write_bytes(content(path.read_bytes()))
    for read in (stored_tensors, fingerprint):
        with pytest.raises(ModelError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_without_weights(path):
    save_file({}, path)
    assert stored_tensors(path) == {}
    assert len(fingerprint(path)) == 64


def test_a_fingerprint_is_that_of_the_content(path, tmp_path):
    (tmp_path / "copy").write_bytes(path.read_bytes())
    assert fingerprint(path) == fingerprint(tmp_path / "copy")


@pytest.mark.parametrize("name", TENSORS)
def test_other_values_of_any_tensor_show_in_the_fingerprint(path, name):
    before = fingerprint(path)
    save_file({**TENSORS, name: TENSORS[name] + 1}, path, metadata={"format": "pt"})
    assert fingerprint(path) != before


def test_other_names_and_shapes_show_in_the_fingerprint(path):
    before = fingerprint(path)
    for change in ({"a": TENSORS["a"].view(3, 2)}, {"e": TENSORS["d"], "d": None}):
        tensors = {name: value for name, value in {**TENSORS, **change}.items() if value is not None}
        save_file(tensors, path, metadata={"format": "pt"})
        assert fingerprint(path) != before


def test_of_a_large_tensor_only_the_beginning_is_read(path):
    before, entry = fingerprint(path), stored_tensors(path)["b.c"]
    data = bytearray(path.read_bytes())
    data[entry.offset + SAMPLE] ^= 1
    path.write_bytes(data)
    assert fingerprint(path) == before
    data[entry.offset + SAMPLE - 1] ^= 1
    path.write_bytes(data)
    assert fingerprint(path) != before


@pytest.mark.parametrize("number_format", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_rows_of_a_matrix_are_read_alone(tmp_path, number_format):
    weight = torch.randn(9, 4).to(number_format)
    path = tmp_path / "model.safetensors"
    save_file({"other": torch.randn(3).to(number_format), "table": weight}, path)
    rows = float_rows(open_rows(path, "table"), np.array([8, 0, 8]))
    assert rows.dtype == np.float32
    assert rows.tolist() == weight[[8, 0, 8]].float().tolist()
    for name in ("other", "nothing"):
        with pytest.raises(ModelError, match="has no matrix"):
            open_rows(path, name)
