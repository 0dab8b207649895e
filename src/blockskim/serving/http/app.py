"""The routes of the service, as one ASGI application."""

import json
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match

from blockskim import __version__
from blockskim.checks import is_text
from blockskim.serving.http import examples
from blockskim.serving.http.bodies import BodyRoute
from blockskim.serving.http.evidence_schemas import (
    HighlightRequest,
    HighlightResponse,
    PruneRequest,
    PruneResponse,
    RerankRequest,
    RerankResponse,
)
from blockskim.serving.http.guard import OPEN, App, Guard, Scope, problem_body
from blockskim.serving.http.metrics import CONTENT_TYPE, Metrics
from blockskim.serving.http.page import read_page
from blockskim.serving.http.problems import (
    EXPECTED,
    Answerless,
    TooMany,
    answerless,
    http_sentence,
    validation_sentence,
)
from blockskim.serving.http.schemas import (
    MOST_NAME,
    Answer,
    AnswerRequest,
    DocumentsRequest,
    Info,
    Problem,
    QuestionContext,
    ReadingParameters,
    SearchRequest,
    SearchResponse,
    Status,
)
from blockskim.serving.http.settings import HttpSettings
from blockskim.serving.refusals import TimedOut
from blockskim.serving.service import Service
from blockskim.serving.tasks import Json

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "What came is no request of HTTP, or the body is not valid JSON.",
        401: "The key is missing or wrong.",
        405: "The route does not take this method.",
        408: "The body did not arrive in time.",
        415: "The body did not come as JSON.",
        413: "The body is too large, or has too many pairs of a question and a text.",
        422: "A value is not what it should be.",
        429: "Too many requests wait; Retry-After says when to come again.",
        431: "Address and headers are too large.",
        500: "The service failed.",
        502: "The process that worked on this ended, maybe because of it.",
        503: "The service starts or stops, or lacks memory.",
        504: "It took longer than a request may.",
    }.items()
}


def make_app(service: Service, settings: HttpSettings, metrics: Metrics | None = None) -> App:
    """The application.

    Args:
        service: what answers.
        settings: what is allowed.
        metrics: counters that the service's workers are counted in, too; new ones when None.
    """
    metrics = metrics or Metrics(lambda: service.waiting, lambda: service.ready)
    api = make_api(service, settings, metrics)

    def route_of(scope: Scope) -> str:
        found = (route for route in api.routes if route.matches(scope)[0] is not Match.NONE)
        return getattr(next(found, None), "path", "")

    guarded: App = Guard(api, settings, metrics, service.check_room, route_of)
    if settings.origins:
        headers = ["Authorization", "Content-Type", "X-Request-Id"]
        shown = ["Retry-After", "X-Request-Id"]
        guarded = CORSMiddleware(
            guarded, list(settings.origins), allow_methods=["GET", "POST"], allow_headers=headers, expose_headers=shown
        )
    return guarded


def make_api(service: Service, settings: HttpSettings, metrics: Metrics) -> FastAPI:
    """The routes and their schema, without what guards them.

    Args:
        service: what answers.
        settings: what is allowed.
        metrics: what ``/metrics`` shows.
    """
    api = FastAPI(
        title="blockskim",
        version=__version__,
        description="Answers to questions from texts of any length, of which what does not matter is skipped.",
        docs_url=None,
        redoc_url=None,
        # The address of a redirect would be that of a machine behind the proxy.
        redirect_slashes=False,
    )
    api.router.route_class = BodyRoute
    _add_status_routes(api, service, settings, metrics)
    _add_answer_routes(api, service, settings)
    _add_evidence_routes(api, service, settings)
    # What is under Exception alone is a bug, which the framework raises once more when it is answered.
    for kind in (RequestValidationError, HTTPException, *EXPECTED, Exception):
        api.add_exception_handler(kind, _explain)
    if settings.api_key is not None:
        _tell_of_key(api)
    return api


def _tell_of_key(api: FastAPI) -> None:
    """Have the schema say that a key is needed; the guard asks for it, which the framework knows nothing of."""
    without_key = api.openapi

    def openapi() -> dict[str, Any]:
        schema = without_key()
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, operations in schema["paths"].items():
            for operation in operations.values() if path not in OPEN else ():
                operation["security"] = [{"key": []}]
                operation["responses"].setdefault("401", {"description": _PROBLEMS[401]["description"]})
        return schema

    api.openapi = openapi  # type: ignore[method-assign] # as the framework's own manual does it


def _add_status_routes(api: FastAPI, service: Service, settings: HttpSettings, metrics: Metrics) -> None:
    """Routes that need no model, and the page."""
    page, page_headers = read_page()

    @api.head("/", include_in_schema=False)
    @api.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers=page_headers)

    @api.head("/health", include_in_schema=False)
    @api.get("/health", response_model=Status, summary="Whether the process is alive")
    async def health() -> Response:
        return _json({"status": "ok"})

    @api.head("/ready", include_in_schema=False)
    @api.get("/ready", response_model=Status, responses={503: {"model": Status}}, summary="Whether it would answer")
    async def ready() -> Response:
        return _json({"status": "ready"}) if service.ready else _json({"status": "not ready"}, 503)

    @api.get("/info", response_model=Info, summary="The model, its operating points, and the limits")
    async def info() -> Response:
        limits = {
            "bytes": settings.max_body,
            "pairs": settings.max_pairs,
            "seconds": settings.seconds,
        }
        about = {"model": settings.served_name, "version": __version__, **service.describe(), "limits": limits}
        return _json(about)

    @api.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show_metrics() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)


def _add_answer_routes(api: FastAPI, service: Service, settings: HttpSettings) -> None:
    """Routes that answer questions."""

    async def answer(request: Request, asked: AnswerRequest) -> Response:
        several = not isinstance(asked.inputs, QuestionContext)
        inputs = asked.inputs if isinstance(asked.inputs, list) else [asked.inputs]
        _check_pairs(len(inputs), settings)
        pairs = [[item.question, item.context] for item in inputs]
        _log(request, settings, len(pairs), pairs[0][0] if pairs else "")
        if not pairs:
            return _json([])
        task = {"kind": "answer", "pairs": pairs, "options": _options(asked.parameters)}
        found = await _ask(service, task, request, settings)
        return _json(found["answers"] if several else found["answers"][0])

    @api.post(
        "/",
        response_model=Answer | list[Answer] | list[list[Answer]],
        responses=_PROBLEMS,
        summary="Answer questions, each from its own text",
    )
    async def answer_here(
        request: Request, asked: Annotated[AnswerRequest, Body(openapi_examples=examples.ANSWER)]
    ) -> Response:
        return await answer(request, asked)

    @api.post(
        "/models/{name:path}",
        response_model=Answer | list[Answer] | list[list[Answer]],
        responses={**_PROBLEMS, 404: {"model": Problem, "description": "There is no such model."}},
        summary="The same, for clients that name the model",
    )
    async def answer_of_model(
        request: Request, name: str, asked: Annotated[AnswerRequest, Body(openapi_examples=examples.ANSWER)]
    ) -> Response:
        if name != settings.served_name:
            raise HTTPException(404, f"there is no such model here; this service has {settings.served_name}")
        return await answer(request, asked)

    @api.post(
        "/search", response_model=SearchResponse, responses=_PROBLEMS, summary="Find answers over several documents"
    )
    async def search(
        request: Request, asked: Annotated[SearchRequest, Body(openapi_examples=examples.SEARCH)]
    ) -> Response:
        task = _documents_task("search", request, asked, asked.parameters, settings)
        return _json(await _ask(service, {**task, "explain": asked.explain}, request, settings))


def _add_evidence_routes(api: FastAPI, service: Service, settings: HttpSettings) -> None:
    """Routes that find what of documents matters."""

    @api.post(
        "/highlight", response_model=HighlightResponse, responses=_PROBLEMS, summary="Find the sentences that matter"
    )
    async def highlight(
        request: Request, asked: Annotated[HighlightRequest, Body(openapi_examples=examples.HIGHLIGHT)]
    ) -> Response:
        task = _documents_task("highlight", request, asked, asked.parameters, settings)
        return _json(await _ask(service, task, request, settings))

    @api.post("/prune", response_model=PruneResponse, responses=_PROBLEMS, summary="Cut documents to what matters")
    async def prune(
        request: Request, asked: Annotated[PruneRequest, Body(openapi_examples=examples.PRUNE)]
    ) -> Response:
        task = _documents_task("prune", request, asked, asked.parameters, settings)
        return _json(await _ask(service, task, request, settings))

    @api.post(
        "/v1/rerank",
        response_model=RerankResponse,
        responses=_PROBLEMS,
        summary="Order documents by how likely they hold evidence",
    )
    async def rerank(
        request: Request, asked: Annotated[RerankRequest, Body(openapi_examples=examples.RERANK)]
    ) -> Response:
        texts = asked.texts()
        _check_pairs(len(texts), settings)
        _log(request, settings, len(texts), asked.query)
        options = _options(asked.parameters)
        task = {"kind": "rerank", "query": asked.query, "documents": texts, "top_n": asked.top_n, "options": options}
        results = (await _ask(service, task, request, settings))["results"]
        if asked.return_documents:
            results = [result | {"document": {"text": texts[result["index"]]}} for result in results]
        return _json({"model": settings.served_name, "results": results})


def _documents_task(
    kind: str,
    request: Request,
    asked: DocumentsRequest,
    parameters: ReadingParameters | None,
    settings: HttpSettings,
) -> Json:
    """What a question about documents asks for, once it was checked and logged.

    Raises:
        TooMany: there are more documents than a request may have.
        HTTPException: two have the same name, or one has a name that is no text or too long.
    """
    documents = asked.named()
    _check_pairs(len(documents), settings)
    _check_names([name for name, _ in documents])
    _log(request, settings, len(documents), asked.question)
    return {"kind": kind, "question": asked.question, "documents": documents, "options": _options(parameters)}


def _options(parameters: ReadingParameters | None) -> Json:
    """What was given of the parameters, as the library takes it."""
    return {} if parameters is None else parameters.options()


def _json(value: Any, status: int = 200) -> Response:
    # A text that JSON can hold and UTF-8 can't is refused before, so this is for what nobody thought of.
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(body, status, media_type="application/json")


def _check_pairs(count: int, settings: HttpSettings) -> None:
    """Refuse more pairs than a request may have.

    Raises:
        TooMany: there are more.
    """
    if count > settings.max_pairs:
        raise TooMany(
            f"{count} pairs of a question and a text are too many; a request has {settings.max_pairs} at most"
        )


def _check_names(names: list[str]) -> None:
    """Refuse documents of the same name, and of names that an answer can't hold, or not many times.

    Raises:
        HTTPException: two have it, or one has such a name.
    """
    longest = max(map(len, names), default=0)
    if longest > MOST_NAME:
        raise HTTPException(422, f"the name of a document has {longest:,} characters; {MOST_NAME:,} are the most")
    if not all(map(is_text, names)):
        raise HTTPException(422, "the name of a document holds half of a surrogate pair, which is no valid text")
    if len(set(names)) < len(names):
        raise HTTPException(422, "two documents have the same name; each needs a name of its own")


async def _ask(service: Service, task: Json, request: Request, settings: HttpSettings) -> Json:
    """Answer a task of a request, in the seconds that the request may still take.

    Raises:
        BlockSkimError: something is wrong with the request, or with the model.
        Refusal: it can't be answered now.
    """
    visit = request.scope["state"]["visit"]
    try:
        return await service.ask(task, max(0.0, settings.seconds - visit.seconds), visit.id)
    except TimedOut:
        # It tells of what was left when the body was there.
        raise TimedOut(settings.seconds) from None


def _log(request: Request, settings: HttpSettings, pairs: int, question: str) -> None:
    """Note what the log is to have of a request: never a text, unless that was asked for."""
    logged: Json = {"pairs": pairs, **({"question": question[:500]} if settings.log_texts else {})}
    request.scope["state"]["logged"] = logged


_KINDS = {400: "invalid_json", 404: "not_found", 405: "method_not_allowed"}


async def _explain(request: Request, error: Exception) -> Response:
    """The response to a request that has no answer."""
    if isinstance(error, RequestValidationError):
        status, sentence = validation_sentence(error.errors(), request.headers.get("content-type", ""))
        answer = Answerless(status, {400: "invalid_json", 415: "no_json"}.get(status, "invalid"), sentence)
    elif isinstance(error, HTTPException):
        sentence = http_sentence(error.status_code, error.detail, request.method)
        kind = _KINDS.get(error.status_code, "invalid")
        answer = Answerless(error.status_code, kind, sentence, dict(error.headers or {}))
    else:
        answer = answerless(error)
    visit = request.scope["state"]["visit"]
    visit.note(answer)
    body = problem_body(answer, visit.id)
    return Response(body, answer.status, dict(answer.headers), media_type="application/json")
