"""Keys and origins that no request could ever be equal to."""

import pytest

from blockskim.errors import ConfigError
from blockskim.serving.http.settings import HttpSettings


@pytest.mark.parametrize("key", ["secret", "kéy", "a.b-c_d~e+f/g==", "🪁", "two  words", "a\u00a0b", "a\u200db"])
def test_keys(key):
    assert HttpSettings(api_key=key).api_key == key


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("secret\n", "ends with white space"),
        ("secret\r\n", "ends with white space"),
        (" secret", "begins with white space"),
        ("secret\u2028", "ends with white space"),
        ("sec\x00ret", "a control character"),
        ("sec\tret", "a control character"),
        ("secret\x7f", "a control character"),
        ("secret\udcff", "a byte that is not UTF-8"),
    ],
)
def test_keys_that_no_request_can_bring(key, told):
    with pytest.raises(ConfigError, match=told) as raised:
        HttpSettings(api_key=key)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://example.org",
        "http://localhost:3000",
        "http://[::1]:8000",
        "https://xn--bcher-kva.example",
        "https://example.org:80",
        "chrome-extension://abcdefghijklmnop",
    ],
)
def test_origins(origin):
    assert HttpSettings(origins=(origin,)).origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "example.org",
        "https://example.org/",
        "https://example.org/page",
        "https://a.example,https://b.example",
        "https://a.example https://b.example",
        "https://*.example.org",
        "https://Example.org",
        "https://example.org:443",
        "http://example.org:80",
        "https://bücher.example",
        "https://user@example.org",
    ],
)
def test_origins_that_no_browser_sends(origin):
    with pytest.raises(ConfigError, match="as browsers send it"):
        HttpSettings(origins=("*", origin))
