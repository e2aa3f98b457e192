"""The HTTP API put together: the apps' routers, authentication, and errors as problem+json."""

import hashlib
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.security import HttpBearer

from config.problems import database_away, problem
from config.strict_json import BodyRefused, StrictParser
from inventory.api import router as inventory_router
from orders import errors
from orders.api import router as orders_router
from orders.models import ApiClient

log = structlog.get_logger(__name__)


class ClientToken(HttpBearer):
    """`Authorization: Bearer <token>`; `manage.py create_api_client NAME` makes one."""

    def authenticate(self, request: HttpRequest, token: str) -> ApiClient | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        return ApiClient.objects.filter(token_sha256=digest).first()


class Api(NinjaAPI):
    """Errors are documented as what they are: application/problem+json."""

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> Any:
        schema = super().get_openapi_schema(*args, **kwargs)
        for operations in schema["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    content = response.get("content", {})
                    if int(status) >= 400 and "application/json" in content:
                        content["application/problem+json"] = content.pop("application/json")
        return schema


api = Api(
    title="Orders and stock",
    version="1.0.0",
    description="Every order that is answered with 201 has exactly one stock effect.",
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
    return problem(status, code, title, " ".join((type(error).__doc__ or "").split()))


@api.exception_handler(BodyRefused)
def body_refused(request: HttpRequest, error: BodyRefused) -> HttpResponse:
    return problem(error.status, error.code, "The body cannot be read", str(error))


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    place = [str(part) for part in first["loc"]]
    detail = f"{'.'.join(place)}: {first['msg']}"
    if any(e["loc"][:2] == ("header", "Idempotency-Key") for e in error.errors):
        return problem(
            400, "idempotency-key-missing", "Idempotency-Key is missing or malformed",
            "Send the header Idempotency-Key with 1 to 255 printable ASCII characters, a new one for each order.",
        )  # fmt: skip
    return problem(422, "invalid", "The request does not fit the schema", detail)


@api.exception_handler(AuthenticationError)
def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(
        401, "unauthenticated", "The token is missing or unknown",
        "Send Authorization: Bearer <token>; `manage.py create_api_client NAME` makes one.",
        headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(error.status_code, "refused", "The request was refused", str(error))


@api.exception_handler(DatabaseError)
def database_error(request: HttpRequest, error: DatabaseError) -> HttpResponse:
    log.error("the database does not answer", error=str(error))
    return database_away()
