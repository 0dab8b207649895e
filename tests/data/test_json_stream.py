import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data import json_text
from blockskim.data.json_stream import stream
from blockskim.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("stream") / "x.json"


def parts(path, key=""):
    return [(part.key, part.value, part.is_item) for part in stream(path, key)]


@given(st.lists(VALUES, min_size=1), st.sampled_from([None, 0, 3]), st.booleans(), st.integers(1, 40))
def test_items_of_a_list_are_what_json_reads(path, items, indent, ascii, size):
    path.write_text("\n " + json.dumps(items, indent=indent, ensure_ascii=ascii) + " \n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "CHUNK", size)
        assert parts(path) == [("", item, True) for item in items]


@given(st.dictionaries(st.text(), VALUES), st.lists(VALUES, min_size=1), st.integers(1, 40), st.booleans())
def test_members_of_an_object_and_items_at_its_key(path, others, items, size, last):
    others.pop("data", None)
    document = {**others, "data": items} if last else {"data": items, **others}
    path.write_text(json.dumps(document), encoding="utf-8")
    wanted = []
    for key, value in document.items():
        wanted += [("data", item, True) for item in value] if key == "data" else [(key, value, False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "CHUNK", size)
        assert parts(path, "data") == wanted


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ("[]", "", [("", [], False)]),
        ("[1]", "data", [("", 1, True)]),
        ('{"data": []}', "data", [("data", [], False)]),
        ('{"data": {"a": 1}}', "data", [("", {"data": {"a": 1}}, False)]),
        ("{}", "data", [("", {}, False)]),
        ("17", "", [("", 17, False)]),
    ],
)
def test_documents_without_items(path, text, key, wanted):
    path.write_text(text)
    assert parts(path, key) == wanted


def test_lines_are_counted(path):
    path.write_text('[\n {"a": "\\n"},\n\n {"b":\n 2}, 3]')
    assert [part.line for part in stream(path)] == [2, 4, 5]


@given(st.text(alphabet='[]{}:,"\\ntrue1.e- \n', max_size=30), st.integers(1, 20), st.sampled_from(["", "data"]))
def test_what_json_refuses_is_refused_and_the_rest_is_not(path, text, size, key):
    path.write_text(text or " ", encoding="utf-8", newline="")
    try:
        json.loads(text or " ")
        valid = True
    except json.JSONDecodeError:
        valid = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "CHUNK", size)
        if valid:
            parts(path, key)
        else:
            with pytest.raises(DataError, match=r"x\.json: is not JSON: .* at line \d+, column \d+"):
                parts(path, key)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"a": 1},\n {"b": }]', "Expecting value at line 2, column 8"),
        ('[{"a": 1}\n {"b": 2}]', "Expecting ',' delimiter at line 2, column 2"),
        ("[1, 2]\n\n x", "Extra data at line 3, column 2"),
        ('[1,\n "ab', "Unterminated string starting at at line 2, column 2"),
        ('{"data": [1]\n "a": 1}', "Expecting ',' delimiter at line 2, column 2"),
        ('{"data": [1],\n a: 1}', "Expecting property name enclosed in double quotes at line 2, column 2"),
        ('{"data"\n [1]}', "Expecting ':' delimiter at line 2, column 2"),
    ],
)
def test_errors_say_where(path, text, place):
    path.write_text(text)
    with pytest.raises(DataError) as error:
        parts(path, "data" if text.startswith("{") else "")
    assert str(error.value) == f"{path}: is not JSON: {place}"


def test_an_error_is_told_of_before_the_rest_is_read(path):
    path.write_text('[{"a": 1}, {"b": oops}, ' + ", ".join(['{"c": "' + "x" * 1000 + '"}'] * 2000) + "]")
    reading = stream(path)
    assert next(reading).value == {"a": 1}
    tracemalloc.start()
    with pytest.raises(DataError, match="line 1, column 18"):
        next(reading)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000


def test_memory_holds_an_item_and_not_the_file(path):
    record = json.dumps({"text": "x" * 20_000})
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("[" + ",".join([record] * 1500) + "]")
    tracemalloc.start()
    count = sum(1 for _ in stream(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1500
    assert peak < 2_000_000  # of 30 MB


def test_too_deep_a_document_is_refused(path):
    path.write_text('[{"a": ' + "[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        parts(path)


def several(path, size=1 << 16):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "CHUNK", size)
        return list(stream(path, "data", several=True))


@given(
    st.lists(st.dictionaries(st.text(), VALUES), min_size=1),
    st.booleans(),
    st.integers(1, 40),
    st.sampled_from(["\n", "\r\n\r\n", " \n "]),
)
def test_objects_one_after_the_other(path, objects, pretty, size, between):
    for item in objects:
        item.pop("data", None)
    text = between.join(json.dumps(item, indent=2 if pretty else None, ensure_ascii=False) for item in objects)
    path.write_text(text, encoding="utf-8", newline="")
    found = several(path, size)
    assert [part.value for part in found] == objects
    assert not any(part.is_item or part.key or part.error for part in found)


WRONG = {
    "cut off": '{"a": [1, {"b": 2}',
    "cut off behind a comma": '{"a": [1,',
    "no JSON": "oops",
    "half a string": '{"a": "b',
    "more behind it": '{"a": 1} x',
    "a comma behind it": '{"a": 1},',
    "too many digits": '{"a": ' + "1" * 5000 + "}",
}


@pytest.mark.parametrize("size", [3, 1 << 16])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_line_does_not_keep_the_others_from_being_read(path, wrong, place, size):
    lines = [f'{{"id": {number}, "text": "{"x" * number}"}}' for number in range(6)]
    lines[place] = wrong
    path.write_text("\n".join(lines))
    found = several(path, size if place else 1 << 16)
    read = [part.value["id"] for part in found if part.error is None and "id" in part.value]
    errors = [str(part.error) for part in found if part.error is not None]
    assert read == [number for number in range(6) if number != place]
    assert len(errors) == 1
    assert f"line {place + 1}" in errors[0]


FIRST = {
    "ends behind a colon": '{"a": {"b":',
    "lacks its first half, up to a bracket": '["a"], "b": [11]}}',
    "lacks its first half, up to the last bracket": "[11]}}",
    "a list that is not closed": '["a", {"b": 1}',
}


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("wrong", FIRST.values(), ids=FIRST)
def test_lines_behind_a_first_one_that_seems_to_go_on_are_read(path, wrong, count):
    lines = [wrong, *(f'{{"id": {number}, "data": "x"}}' for number in range(count))]
    for end in ("", "\n"):
        path.write_text("\n".join(lines) + end)
        found = several(path)
        read = [part.value["id"] for part in found if isinstance(part.value, dict) and "id" in part.value]
        assert read == list(range(count))
        assert len([part for part in found if part.error is not None]) == 1


@pytest.mark.parametrize("length", [60_000, 200_000, 1_200_000])
@pytest.mark.parametrize("end", ["", ",", ': "b', "}}"])
def test_a_long_first_line_that_is_wrong_does_not_keep_the_others_from_being_read(path, length, end):
    first = '{"a": "' + "x" * length + '", "b": "' + "x" * length + '"' + end
    path.write_text("\n".join([first, '{"id": 0}', '{"id": 1}']))
    found = several(path)
    assert [part.value["id"] for part in found if part.error is None and "id" in part.value] == [0, 1]
    assert [part.line for part in found if part.error is not None] == [1]


def test_an_error_in_a_list_is_raised_where_it_is(path):
    for text, place in [
        ('[\n{"a": 1},\n{"b": oops},\n{"c": 3}\n]', "line 3, column 7"),
        ('[{"a": oops},\n{"b": 1}]', "line 1, column 8"),
        ('[{"a": 1}]\n x', "line 2, column 2"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=place):
            several(path)


def test_an_error_in_the_only_object_is_raised_where_it_is(path):
    for text, place in [
        ('{\n"a": 1,\n"b": }', "line 3, column 6"),
        ('{"data": [\n{"a": 1},\n{"b": oops}\n]}', "line 3, column 7"),
        ('{"data": [\n{"b": oops},\n{"a": 1}]}', "line 2, column 7"),
        ('{"a": 1', "line 1, column 8"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=place):
            several(path)


def test_objects_with_and_without_the_list_may_follow_each_other(path):
    path.write_text('{"version": 2, "data": [1], "x": 3}\n{"data": [4]}')
    assert [part[:2] + part[3:4] for part in several(path)] == [
        ("version", 2, False),
        ("data", 1, True),
        ("x", 3, False),
        ("", {"data": [4]}, False),
    ]
