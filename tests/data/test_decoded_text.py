import gzip
import io
import zlib

import pytest

from blockskim.data.decoded_text import PIECE, DecodedText


def read_all(reader, count):
    """All that can be read, and why there is no more."""
    text = ""
    while piece := reader.read(count):
        assert len(piece) <= count
        text += piece
    assert reader.read(count) == ""
    return text, reader.error


@pytest.mark.parametrize("count", [1, 7, 100_000])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_is_decoded_as_a_whole(count, mark):
    text = "Añb😀\r\n\u2028x" * (1 if count == 1 else 3000)
    assert read_all(DecodedText(io.BytesIO((mark + text).encode())), count) == (text, None)


@pytest.mark.parametrize("count", [1, 7, 100_000])
@pytest.mark.parametrize("before", ["", "\ufeff", "é" * 50, "é" * PIECE])
def test_what_stands_before_a_wrong_byte_is_read(count, before):
    text, error = read_all(DecodedText(io.BytesIO(before.encode() + b"\xff" + b"more")), count)
    assert text == before.removeprefix("\ufeff")
    assert error.object[error.start] == 0xFF


def test_a_character_that_is_cut_off_at_the_end_is_an_error():
    text, error = read_all(DecodedText(io.BytesIO("abcé".encode()[:-1])), 100)
    assert (text, error.reason) == ("abc", "unexpected end of data")


def test_what_stands_before_the_end_of_a_cut_off_gzip_file_is_read():
    text = "".join(f"{number} " for number in range(20_000))
    packed = gzip.compress(text.encode())[:-2000]
    held = zlib.decompressobj(31).decompress(packed).decode()
    for count in (1000, 1 << 20):
        found, error = read_all(DecodedText(gzip.GzipFile(fileobj=io.BytesIO(packed))), count)
        assert isinstance(error, EOFError)
        assert found == held
