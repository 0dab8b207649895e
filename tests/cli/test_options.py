"""The choices that the command line offers, which it may not import the library for: they are the library's."""

import pytest

from blockskim.answering.backend_choice import BACKENDS, ONNX_DTYPES
from blockskim.calibration.targets import MEASURES
from blockskim.cli.bulk_options import InputFormat, OnError, OutputFormat
from blockskim.cli.calibrate import Measure
from blockskim.cli.options import Backend, Device, Dtype, Format
from blockskim.data.reading import READERS
from blockskim.inference import devices
from blockskim.scaling import raw_shards
from blockskim.scaling.plan import ON_ERROR, OUTPUT_FORMATS

OFFERED = {
    Backend: BACKENDS,
    Device: ("auto", "cpu", "cuda"),
    Dtype: {*devices.NAMES, *ONNX_DTYPES},
    Format: READERS,
    Measure: MEASURES,
    InputFormat: raw_shards.READERS,
    OutputFormat: OUTPUT_FORMATS,
    OnError: ON_ERROR,
}


@pytest.mark.parametrize("choice", OFFERED, ids=lambda choice: choice.__name__)
def test_what_is_offered_is_what_there_is(choice):
    assert {member.value for member in choice} == set(OFFERED[choice])
