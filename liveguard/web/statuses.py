"""How a refusal is said in HTTP: its status, and what HTTP itself refuses."""

from liveguard.errors import (
    AuthenticationError,
    Conflict,
    InternalError,
    InvalidMessage,
    InvalidPayload,
    NotAllowed,
    NotFound,
    RateLimited,
    Refusal,
    StorageUnavailable,
    Unavailable,
    WrongCredentials,
)


class MethodNotAllowed(Refusal):
    code = "method_not_allowed"
    sentence = "This address does not know that method"


class BodyTooLarge(Refusal):
    code = "too_large"
    sentence = "That is too much at once"


class MalformedRequest(InvalidMessage):
    code = "invalid_request"
    sentence = "The request makes no sense"


STATUSES: dict[type[Refusal], int] = {
    AuthenticationError: 401,
    WrongCredentials: 401,
    NotAllowed: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
    BodyTooLarge: 413,
    InvalidMessage: 400,
    InvalidPayload: 400,
    RateLimited: 429,
    Unavailable: 503,
    InternalError: 500,
}

# What Tornado refuses by itself.
_BY_STATUS: dict[int, type[Refusal]] = {400: MalformedRequest, 405: MethodNotAllowed}


def status_of(refusal: Refusal | type[Refusal]) -> int:
    """The HTTP status that fits a refusal."""
    kind = refusal if isinstance(refusal, type) else type(refusal)
    return next((STATUSES[base] for base in kind.__mro__ if base in STATUSES), 500)


def refusal_of(problem: BaseException | None, status: int) -> Refusal:
    """What the client hears of a problem; of one that is our fault, no more than that it is."""
    if isinstance(problem, Refusal):
        return problem
    if isinstance(problem, StorageUnavailable):
        return Unavailable()
    return _BY_STATUS.get(status, InternalError)()
