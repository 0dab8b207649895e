import pytest

from blockskim.errors import ConfigError
from blockskim.profiling.schedule_notation import kept_blocks, parse_keep, share_after


def test_schedules_are_read():
    assert parse_keep("3:0.5,6:0.25,9:0.125") == {3: 0.5, 6: 0.25, 9: 0.125}
    assert list(parse_keep(" 9:.125, 3:1")) == [3, 9]
    assert parse_keep("all") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "LAYER:SHARE"),
        ("3", "'3'"),
        ("3:", "'3:'"),
        ("3:0.5,", "''"),
        ("three:0.5", "'three:0.5'"),
        ("3:half", "'3:half'"),
        ("3:0.5:1", "'3:0.5:1'"),
        ("3:0", "above 0"),
        ("3:1.5", "at most 1"),
        ("3:nan", "above 0"),
        ("3:0.5,3:0.4", "layer 3 twice"),
        ("3:0.5,6:0.6", "can't rise"),
    ],
)
def test_malformed_schedules_are_refused(text, why):
    with pytest.raises(ConfigError, match=why):
        parse_keep(text)


def test_shares_hold_until_the_next_one():
    keep = parse_keep("3:0.5,6:0.25")
    assert [share_after(keep, layer) for layer in range(1, 8)] == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert share_after({}, 5) == 1.0


def test_shares_are_rounded_to_blocks_and_never_to_none():
    assert [kept_blocks(share, 14) for share in (1.0, 0.5, 0.25, 0.125, 0.01)] == [14, 7, 4, 2, 1]
    assert kept_blocks(0.5, 0) == 0
