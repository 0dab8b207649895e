"""The reference of the service, from its OpenAPI schema and its counters."""

import json
import re
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

from markdown_text import GENERATED, code, plain, table

Parts: TypeAlias = dict[str, Any]
"""Forms by name."""

INTRODUCTION = """
# Service

Routes, bodies and metrics of `blockskim serve`. A running service has the same at `/openapi.json`, with examples;
its options are those of [the command](cli.md#blockskim-serve). [How to serve](../how-to/serve.md) tells how to run it.

## Routes

`POST /` and `POST /models/{name}` give one answer for one pair of question and context, a list for a list; with `top_k`
above 1 each answer becomes a list of answers.

"""

BODY_OF_PROBLEMS = (
    """The body is a [Problem](#problem), but for `/ready`, whose body is a [Status](#status) with 503, too."""
)

OFFSETS = "Offsets count Unicode code points. A field that is `null` or that does not apply may be missing."

REQUESTS = ("AnswerRequest", "SearchRequest", "HighlightRequest", "PruneRequest", "RerankRequest")
"""Bodies that clients send. What is in them has a section behind them."""

RESPONSES = (
    "Answer",
    "SearchResponse",
    "HighlightResponse",
    "PruneResponse",
    "RerankResponse",
    "Info",
    "Status",
    "Problem",
)
"""Bodies that the service sends. What is in them has a section behind them."""


def server_page() -> str:
    """The page."""
    schema = _schema()
    parts = schema["components"]["schemas"]
    requests = _with_parts(REQUESTS, parts)
    responses = [name for name in _with_parts(RESPONSES, parts) if name not in requests]
    return "".join(
        (
            GENERATED,
            INTRODUCTION,
            _routes(schema),
            f"\n## Problems\n\n{_problems(schema)}",
            f"\n## Requests\n{_sections(requests, parts, _request_fields)}",
            f"\n## Responses\n\n{OFFSETS}\n{_sections(responses, parts, _response_fields)}",
            _metrics(),
        )
    )


def _schema() -> dict[str, Any]:
    """The OpenAPI schema of a service that has no model."""
    from blockskim.serving.http.app import make_api
    from blockskim.serving.http.metrics import Metrics
    from blockskim.serving.http.settings import HttpSettings
    from blockskim.serving.service import Service

    service = cast(Service, SimpleNamespace(waiting=0, ready=True, describe=dict))
    return make_api(service, HttpSettings(), Metrics(lambda: 0, lambda: True)).openapi()


def _routes(schema: dict[str, Any]) -> str:
    rows = []
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            taken = _kind(_json_form(route.get("requestBody", {})))
            given = _kind(_json_form(route["responses"]["200"]))
            rows.append((code(f"{method.upper()} {path}"), route["summary"], taken, given))
    return table(("route", "does", "takes", "gives"), rows)


def _json_form(body: dict[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = body.get("content", {}).get("application/json", {}).get("schema", {})
    return form


def _problems(schema: dict[str, Any]) -> str:
    found: dict[str, str] = {}
    for methods in schema["paths"].values():
        for route in methods.values():
            for status, answer in route["responses"].items():
                if status >= "400" and "Problem" in str(answer.get("content")):
                    found[status] = answer["description"]
    return f"{BODY_OF_PROBLEMS}\n\n{table(('status', 'why'), sorted(found.items()))}"


def _with_parts(names: Iterable[str], parts: Parts) -> list[str]:
    """Names of forms, and of those that their fields have, each once."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += re.findall(r"'#/components/schemas/(\w+)'", str(parts[name]))
    return list(found)


def _sections(names: Iterable[str], parts: Parts, fields: Callable[[dict[str, Any], Parts], str]) -> str:
    return "".join(
        f"\n### {name}\n\n{plain(parts[name].get('description', ''))}\n\n{fields(parts[name], parts)}" for name in names
    )


def _request_fields(part: dict[str, Any], parts: Parts) -> str:
    needed = part.get("required", [])
    rows = [
        (code(name), _kind(about), "required" if name in needed else _usual(about), _meaning(about, parts))
        for name, about in part["properties"].items()
    ]
    return table(("field", "type", "default", ""), rows)


def _usual(about: dict[str, Any]) -> str:
    """What holds where a field is left out."""
    return code(json.dumps(about["default"], ensure_ascii=False)) if about.get("default") is not None else ""


def _response_fields(part: dict[str, Any], parts: Parts) -> str:
    rows = [(code(name), _kind(about), _meaning(about, parts)) for name, about in part["properties"].items()]
    return table(("field", "type", ""), rows)


def _meaning(about: dict[str, Any], parts: Parts) -> str:
    """What a field is; a schema tells it of the form itself where the field is one."""
    (form,) = re.findall(r"'#/components/schemas/(\w+)'", str(about))[:1] or ("",)
    own = about.get("description") or parts.get(form, {}).get("description", "")
    return plain(str(own))


def _kind(about: dict[str, Any]) -> str:
    """A type in words, with its bounds."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in about:
            kinds = [_kind(one) for one in about[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    named = about.get("enum", [about["const"]] if "const" in about else [])
    if named:
        return " or ".join(code(json.dumps(name)) for name in named)
    if "prefixItems" in about:
        return "list of " + ", ".join(map(_kind, about["prefixItems"]))
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}"
    if about.get("type") == "object":
        values = about.get("additionalProperties")
        return f"object of {_kind(values)} by name" if isinstance(values, dict) else "object"
    return str(about.get("type", "")) + _bounds(about)


def _bounds(about: dict[str, Any]) -> str:
    """Which values of a type are taken."""
    least, most, above = (about.get(name) for name in ("minimum", "maximum", "exclusiveMinimum"))
    if "maxLength" in about:
        return f" of at most {about['maxLength']} characters"
    if above is not None:
        return f" above {above:g}" + ("" if most is None else f", at most {most:,.10g}")
    if least is not None:
        return f" from {least:,.10g}" + (" on" if most is None else f" to {most:,.10g}")
    return ""


def _metrics() -> str:
    from blockskim.serving.http.metrics import Metrics

    text = Metrics(lambda: 0, lambda: True).exposition().decode()
    told = dict(re.findall(r"# HELP (\w+) (.*)", text))
    kinds = dict(re.findall(r"# TYPE (\w+) (\w+)", text))
    rows = [(code(name), kinds[name], told[name]) for name in sorted(kinds) if not name.endswith("_created")]
    return f"\n## Metrics\n\nAt `GET /metrics`, for Prometheus.\n\n{table(('metric', 'kind', ''), rows)}"
