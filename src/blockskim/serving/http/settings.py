"""What the HTTP side allows, and to whom."""

import re
import unicodedata
from dataclasses import dataclass

from blockskim.errors import ConfigError

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
"""Scheme, host and port, as browsers send them."""

_USUAL_PORT = re.compile(r"http:.*:80|https:.*:443")
"""Browsers leave it out."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Limits and openness of a service.

    Attributes:
        served_name: what the model is called; requests may name it.
        max_body: bytes of a request.
        max_pairs: pairs of a question and a text in a request.
        max_held: bytes of all requests that are here at once, those that still arrive among them.
        seconds: that a request may take, from its first byte to its answer.
        api_key: which every request has to bring as a bearer token, but those to the page and to the health checks;
            None to let everybody ask.
        origins: of web pages that browsers let ask; "*" for all.
        log_texts: whether logs hold questions and what is wrong with requests that are refused.
    """

    served_name: str = "default"
    max_body: int = 2_000_000
    max_pairs: int = 32
    max_held: int = 1_024_000_000
    seconds: float = 30.0
    api_key: str | None = None
    origins: tuple[str, ...] = ()
    log_texts: bool = False

    def __post_init__(self) -> None:
        """Check what requests are compared with: what no request can be equal to would shut everybody out.

        Raises:
            ConfigError: the key or an origin can't be.
        """
        if self.api_key is not None:
            _check_key(self.api_key)
        for origin in self.origins:
            if origin not in ("*", "null") and (not _ORIGIN.fullmatch(origin) or _USUAL_PORT.fullmatch(origin)):
                raise ConfigError(
                    f"origin is {origin!r}; it must be as browsers send it: scheme, host and port in lower case, "
                    "without path and usual port, such as https://example.org; give each by itself (--cors-origin)"
                )


def _check_key(key: str) -> None:
    """Refuse a key that can't be meant or that no header can bring; the message does not tell it.

    White space inside of a key is fine: what follows the scheme is compared as a whole.

    Raises:
        ConfigError: it is such a key.
    """
    if not key.strip():
        raise ConfigError("the key is empty; give one, or none at all to let everybody ask (--api-key)")
    if key != key.strip():
        where = "begins" if key[0].isspace() else "ends"
        raise ConfigError(f"the key {where} with white space, which may be lost on the way; leave it out (--api-key)")
    # Half of a surrogate pair stands for a byte of the environment that is no UTF-8.
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in key):
        raise ConfigError(
            "the key holds a control character, or a byte that is not UTF-8; take letters, digits and signs (--api-key)"
        )
