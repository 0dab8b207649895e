"""What the HTTP side allows, and to whom."""

from dataclasses import dataclass


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
        log_texts: whether logs hold questions.
    """

    served_name: str = "default"
    max_body: int = 2_000_000
    max_pairs: int = 32
    max_held: int = 1_024_000_000
    seconds: float = 30.0
    api_key: str | None = None
    origins: tuple[str, ...] = ()
    log_texts: bool = False
