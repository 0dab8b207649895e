"""The reference of the service, from its OpenAPI schema and its counters."""

import re
from types import SimpleNamespace
from typing import Any, cast

from markdown_text import GENERATED, code, plain, table

INTRODUCTION = """
# Service

Routes, parameters and metrics of `blockskim serve`. A running service has the same at `/openapi.json`, with examples;
its options are those of [the command](cli.md#blockskim-serve). [How to serve](../how-to/serve.md) tells how to run it.

## Routes

"""

LINKED = (
    "AnswerRequest",
    "SearchRequest",
    "HighlightRequest",
    "PruneRequest",
    "RerankRequest",
    "Parameters",
    "HighlightParameters",
    "PruneParameters",
    "ReadingParameters",
    "Answer",
)
"""Bodies that have a section."""


def server_page() -> str:
    """The page."""
    schema = _schema()
    parts = schema["components"]["schemas"]
    bodies = "".join(
        f"\n### {name}\n\n{plain(parts[name].get('description', ''))}\n\n{_fields(parts[name])}" for name in LINKED
    )
    problems = f"\n## Problems\n\n{_problems(schema)}"
    return f"{GENERATED}{INTRODUCTION}{_routes(schema)}{problems}\n## Bodies\n{bodies}{_metrics()}"


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
            body = route.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            rows.append((code(f"{method.upper()} {path}"), route["summary"], _kind(body)))
    return table(("route", "does", "takes"), rows)


def _problems(schema: dict[str, Any]) -> str:
    found: dict[str, str] = {}
    for methods in schema["paths"].values():
        for route in methods.values():
            for status, answer in route["responses"].items():
                if status >= "400" and "Problem" in str(answer.get("content")):
                    found[status] = answer["description"]
    text = table(("status", "why"), sorted(found.items()))
    return f'The body is always `{{"error": SENTENCE, "kind": WORD, "request_id": ID}}`.\n\n{text}'


def _fields(part: dict[str, Any]) -> str:
    needed = part.get("required", [])
    rows = [
        (code(name), _kind(about), "required" if name in needed else "", plain(about.get("description", "")))
        for name, about in part["properties"].items()
    ]
    return table(("field", "type", "", ""), rows)


def _kind(about: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if name in LINKED else name
    for several in ("anyOf", "oneOf"):
        if several in about:
            kinds = [_kind(one) for one in about[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}"
    if about.get("type") == "object":
        return "object"
    return str(about.get("type", ""))


def _metrics() -> str:
    from blockskim.serving.http.metrics import Metrics

    text = Metrics(lambda: 0, lambda: True).exposition().decode()
    told = dict(re.findall(r"# HELP (\w+) (.*)", text))
    kinds = dict(re.findall(r"# TYPE (\w+) (\w+)", text))
    rows = [(code(name), kinds[name], told[name]) for name in sorted(kinds) if not name.endswith("_created")]
    return f"\n## Metrics\n\nAt `GET /metrics`, for Prometheus.\n\n{table(('metric', 'kind', ''), rows)}"
