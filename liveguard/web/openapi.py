"""The HTTP interface, described for programs: an OpenAPI 3.1 document, made of the routing table and of the types.

What neither of them knows, a handler says right above its method, with :class:`Operation`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, TypeVar

import msgspec

import liveguard
from liveguard.errors import AuthenticationError, InternalError, InvalidPayload, NotAllowed, Refusal, Unavailable
from liveguard.web.application import Route
from liveguard.web.base import SAFE_METHODS, Door, everybody, signed_in
from liveguard.web.bodies import Refused
from liveguard.web.statuses import BodyTooLarge, MalformedRequest, status_of

Json = dict[str, Any]
M = TypeVar("M", bound=Callable[..., Any])

JSON = "application/json"

ABOUT = """
Names are camelCase; a time is ISO 8601 in UTC with milliseconds and `Z`; a duration is in whole seconds; an id is a
text without meaning. What a client does not know, it ignores: there may be more one day.

Where a scheme of security is named, whoever is signed in may ask; what somebody may not see does not exist for them.
What GET is, HEAD is as well, without the body. Any other method is `method_not_allowed` (405, `Allow` says which are),
any other address `not_found` (404), and a Host or an Origin that is not this server's own `not_allowed` (403).
"""

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A token: that of `POST /api/login`, one of the command line, or one of the identity provider.",
}
METRICS_TOKEN = {"type": "http", "scheme": "bearer", "description": "The token of the settings, where one is set."}
READS_ONLY = "The dashboard's cookie. By it alone nothing can be changed."

HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    429: {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}},
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a handler's method takes, gives and refuses; what it is for, its docstring says, or else the handler's.

    ``answer`` is a type, or several types of which it is one. ``refuses`` is what does not follow from who may, from
    what is taken, or from being an address of this server. ``security`` is for a handler that admits in its own way.
    """

    answer: Any
    statuses: tuple[int, ...] = (200,)
    content_type: str = JSON
    query: type | None = None
    body: type | None = None
    refuses: tuple[type[Refusal], ...] = ()
    security: tuple[Json, ...] | None = None

    def __call__(self, method: M) -> M:
        """As a decorator."""
        vars(method)["operation"] = self
        return method

    @property
    def types(self) -> tuple[Any, ...]:
        """The types of the answer."""
        return self.answer if isinstance(self.answer, tuple) else (self.answer,)


@dataclass(frozen=True)
class Described:
    """An operation at its place in the routing table."""

    path: str
    handler: type[Door]
    method: str
    operation: Operation

    @property
    def security(self) -> list[Json]:
        """One of these is needed; none where anybody may come in."""
        if self.operation.security is not None:
            return list(self.operation.security)
        if self.handler.admit is everybody:
            return []
        assert self.handler.admit is signed_in, f"{self.path} admits in its own way: its operation says what is needed"
        return [{"bearer": []}, {"cookie": []}] if self.method in SAFE_METHODS else [{"bearer": []}]

    def refusals(self) -> Iterator[type[Refusal]]:
        """All that may be refused."""
        yield from (NotAllowed, BodyTooLarge, InternalError)
        if "{" in self.path or self.operation.query:
            yield MalformedRequest
        if self.operation.query or self.operation.body:
            yield InvalidPayload
        if self.handler.admit is signed_in:
            yield from (*AuthenticationError.__subclasses__(), Unavailable)
        yield from self.operation.refuses


def openapi(routes: Iterable[Route], origin: str, login_cookie: str) -> bytes:
    """The document of a server that is reached at ``origin``, whose dashboard signs in by a cookie of this name."""
    described = list(_described(routes))
    taken = [each.operation.body for each in described if each.operation.body]
    made, components = schemas([Refused, *taken, *(kind for each in described for kind in each.operation.types)])
    paths: dict[str, Json] = {}
    for each in described:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, made)
    cookie = {"type": "apiKey", "in": "cookie", "name": login_cookie, "description": READS_ONLY}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": about("liveguard over HTTP", ABOUT),
            "servers": [{"url": origin}],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"bearer": BEARER, "cookie": cookie, "metricsToken": METRICS_TOKEN},
            },
        }
    )


def _described(routes: Iterable[Route]) -> Iterator[Described]:
    for path, handler in (route[:2] for route in routes):
        for method in handler.methods():
            operation = getattr(getattr(handler, method.lower()), "operation", None)
            if operation is not None:
                yield Described(path, handler, method, operation)


def _operation(each: Described, made: dict[Any, Json]) -> Json:
    operation, method = each.operation, getattr(each.handler, each.method.lower())
    summary, description = words_of(method if method.__doc__ else each.handler)
    found: Json = {
        "operationId": each.method.lower() + each.handler.__name__,
        "summary": summary,
        "description": description,
        "parameters": [*_of_path(each.path), *_of_query(operation.query)],
        "responses": _answers(operation, made) | _refusals(each.refusals(), made),
        "security": each.security,
    }
    if operation.body:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": made[operation.body]}}}
    return found


def _of_path(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _of_query(query: type | None) -> list[Json]:
    if query is None:
        return []
    _, components = schemas([query])
    parameters = []
    for name, schema in components[query.__name__]["properties"].items():
        # What is not in the address, cannot be said to be null there.
        schema = schema["anyOf"][0] if "anyOf" in schema else schema
        parameters.append({"name": name, "in": "query", "description": schema.pop("description"), "schema": schema})
    return parameters


def _answers(operation: Operation, made: dict[Any, Json]) -> Json:
    kinds = [made[kind] for kind in operation.types]
    schema = kinds[0] if len(kinds) == 1 else {"oneOf": kinds}
    content = {operation.content_type: {"schema": schema}}
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": content} for status in operation.statuses
    }


def _refusals(refusals: Iterable[type[Refusal]], made: dict[Any, Json]) -> Json:
    by_status: dict[int, dict[str, str]] = {}
    for refusal in refusals:
        by_status.setdefault(status_of(refusal), {})[refusal.code] = refusal.sentence
    found: Json = {}
    for status, codes in sorted(by_status.items()):
        code = {"properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}}
        found[str(status)] = {
            "description": "\n".join(f"- `{code}`: {sentence}" for code, sentence in codes.items()),
            "content": {JSON: {"schema": made[Refused] | code}},
        }
        if status in HEADERS:
            found[str(status)]["headers"] = HEADERS[status]
    return found


# -- what all descriptions have in common ----------------------------------------------------------------------------


def about(title: str, description: str) -> Json:
    """What a document says of itself."""
    return {
        "title": title,
        "version": liveguard.__version__,
        "description": description.strip(),
        "license": {"name": "MIT"},
    }


def schemas(types: Iterable[Any]) -> tuple[dict[Any, Json], Json]:
    """The schema of each of these types, and those to which they refer, by their names."""
    kinds = list(dict.fromkeys(types))
    made, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    return dict(zip(kinds, made, strict=True)), components


def words_of(thing: Any) -> tuple[str, str]:
    """What a docstring says: the first paragraph, without the address or the name that it begins with; and the rest."""
    first, _, rest = cleandoc(thing.__doc__ or "").partition("\n\n")
    summary = re.sub(r"^``[^`]+``: ", "", first).replace("\n", " ")
    return summary[:1].upper() + summary[1:], rest
