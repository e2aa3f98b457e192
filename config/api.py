"""The HTTP API put together: the apps' routers, authentication, and errors as problem+json."""

import hashlib
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI, Swagger
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.security import HttpBearer

from config.problems import CONTENT_TYPE, Problem, database_away, problem
from config.strict_json import BodyRefused, StrictParser, body_too_large, missing_body
from inventory.api import router as inventory_router
from orders import errors
from orders.api import router as orders_router
from orders.models import ApiClient

log = structlog.get_logger(__name__)


class ClientToken(HttpBearer):
    """`Authorization: Bearer <token>`; `manage.py create_api_client NAME` makes one."""

    def authenticate(self, request: HttpRequest, token: str) -> ApiClient | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        # Asked with every request: the ORM's way to the same statement takes a tenth of the request's time.
        return next(iter(ApiClient.objects.raw("SELECT * FROM api_client WHERE token_sha256 = %s", [digest])), None)


class Api(NinjaAPI):
    """Documents the refusals too: an operation's own stand beside it, those that any may make stand here."""

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> Any:
        schema: dict[str, Any] = super().get_openapi_schema(*args, **kwargs)
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"] = _with_problems(operation)
        return schema


def _with_problems(operation: dict[str, Any]) -> dict[str, Any]:
    refusals = _ANY_REFUSES | (_BODY_REFUSES if "requestBody" in operation else {})
    described: dict[str, Any] = {str(status): {"description": text} for status, text in refusals.items()}
    described |= {str(status): dict(response) for status, response in operation["responses"].items()}
    for status, response in described.items():
        if int(status) >= 400:
            response["content"] = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return dict(sorted(described.items()))


_ANY_REFUSES = {
    401: "The token is missing or unknown",
    422: "The request does not fit the schema",
    503: "The database does not answer: repeat the request",
}
_BODY_REFUSES = {
    400: "The body is missing, or no strict JSON",
    411: "The body came in chunks, without Content-Length",
    413: "The body has more than 64 KiB",
    415: "The body is not application/json in UTF-8, or is compressed",
}

api = Api(
    title="Orders and stock",
    version="1.0.0",
    description="Every order that is answered with 201 has exactly the stock effect that its status promises.",
    # Its files are served from here; validatorUrl would show the schema to a site on the Internet.
    docs=Swagger(settings={"validatorUrl": None}),
    auth=ClientToken(),
    parser=StrictParser(),
    urls_namespace="api",
)
api.add_router("/orders", orders_router, tags=["orders"])
api.add_router("/stock", inventory_router, tags=["stock"])

_PROBLEMS: dict[type[Exception], tuple[int, str, str]] = {
    errors.RequestInFlight: (409, "request-in-flight", "A request with this Idempotency-Key is in flight"),
    errors.KeyReused: (422, "idempotency-key-reused", "The Idempotency-Key was used with another body"),
    errors.NoSuchOrder: (404, "no-such-order", "There is no such order"),
    errors.NotCancellable: (409, "not-cancellable", "The order was rejected"),
}


@api.exception_handler(errors.OrderError)
def order_error(request: HttpRequest, error: errors.OrderError) -> HttpResponse:
    status, code, title = _PROBLEMS[type(error)]
    headers = {"Retry-After": "1"} if isinstance(error, errors.RequestInFlight) else {}
    return problem(status, code, title, " ".join((type(error).__doc__ or "").split()), headers=headers)


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    source, name, *place = [str(part) for part in first["loc"]]
    if any(e["loc"][:2] == ("header", "Idempotency-Key") for e in error.errors):
        return problem(
            400,
            "idempotency-key-missing",
            "Idempotency-Key is missing or malformed",
            "Send the header Idempotency-Key with 1 to 255 printable ASCII characters without spaces, "
            "a new one for each order.",
        )
    if source == "body" and first["type"] == "missing" and not place:
        return body_refused(missing_body(request))
    # In the body, `name` is only what the function calls it.
    where = ".".join(place) or "the body" if source == "body" else name
    why = first["msg"].removeprefix("Value error, ")
    return problem(422, "invalid", "The request does not fit the schema", f"{where}: {why}. See /api/docs.")


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # ninja raises what it reads a body with as this.
    if isinstance(error.__cause__, BodyRefused):
        return body_refused(error.__cause__)
    return problem(error.status_code, "refused", "The request was refused", str(error))


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return body_refused(body_too_large())


@api.exception_handler(UnreadablePostError)
def broken_off(request: HttpRequest, error: UnreadablePostError) -> HttpResponse:
    return body_refused(BodyRefused(400, "body-incomplete", "The connection ended before the body did."))


def body_refused(refused: BodyRefused) -> HttpResponse:
    return problem(refused.status, refused.code, "The body cannot be read", str(refused))


@api.exception_handler(AuthenticationError)
def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(
        401,
        "unauthenticated",
        "The token is missing or unknown",
        "Send Authorization: Bearer <token>; `manage.py create_api_client NAME` makes one.",
        headers={"WWW-Authenticate": "Bearer"},
    )


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
@api.exception_handler(InternalError)  # for example: this server is a standby now, and reads only
def database_error(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("the database does not answer", error=str(error))
    return database_away()
