"""Everything that liveguard refuses, as one small tree.

    LiveguardError
    ├── Refusal                     an answer to a client: a stable ``code`` and a sentence
    │   ├── AuthenticationError     the five refusals of a token, in the order in which they are checked
    │   │   ├── AuthenticationRequired, TokenExpired, InvalidToken, UserNotFound, AccountInactive
    │   ├── SessionAlreadyActive, NoActiveSession, StartFailed
    │   ├── InvalidMessage, UnknownEvent, InvalidPayload
    │   ├── NotAllowed, NotInRoom, RateLimited (TooManyConnections, TooManySignIns)
    │   ├── NotFound (UnknownEmail), Conflict, WrongCredentials
    │   └── Unavailable, InternalError
    ├── StorageUnavailable          the database cannot be read or written just now
    │   └── Unanswered              it does not answer: what was to be written may be written yet
    └── ConfigurationError          a setting or a file that stops the start, in one line

A sentence never carries a traceback, SQL, a path, a token or a coordinate.
"""


class LiveguardError(Exception):
    """The root of the tree."""


class Refusal(LiveguardError):
    """Something that a client asked for and does not get."""

    code = "internal_error"
    sentence = "Something went wrong"

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)

    @property
    def message(self) -> str:
        """The sentence that the client sees."""
        return str(self.args[0])


class AuthenticationError(Refusal):
    """The caller is not, or no longer, signed in."""


class AuthenticationRequired(AuthenticationError):
    code = "authentication_required"
    sentence = "Authentication required"


class TokenExpired(AuthenticationError):
    code = "token_expired"
    sentence = "Token expired"


class InvalidToken(AuthenticationError):
    code = "invalid_token"
    sentence = "Invalid token"


class UserNotFound(AuthenticationError):
    code = "user_not_found"
    sentence = "User not found"


class AccountInactive(AuthenticationError):
    code = "account_inactive"
    sentence = "Account inactive"


class SessionAlreadyActive(Refusal):
    code = "session_already_active"
    sentence = "Session already active"


class NoActiveSession(Refusal):
    code = "no_active_session"
    sentence = "No active session found"


class StartFailed(Refusal):
    code = "start_failed"
    sentence = "Failed to start live session"


class InvalidMessage(Refusal):
    code = "invalid_message"
    sentence = "A message is one JSON object with an event name"


class UnknownEvent(Refusal):
    code = "unknown_event"
    sentence = "Unknown event"


class InvalidPayload(Refusal):
    """A field is missing or wrong; the sentence names it."""

    code = "invalid_payload"
    sentence = "Invalid payload"


class NotAllowed(Refusal):
    code = "not_allowed"
    sentence = "Not allowed"


class NotInRoom(Refusal):
    code = "not_in_room"
    sentence = "You are not in this room"


class RateLimited(Refusal):
    code = "rate_limited"
    sentence = "Too many messages, slow down"


class TooManyConnections(RateLimited):
    sentence = "Too many connections"


class TooManySignIns(RateLimited):
    """Too many wrong passwords; the next try counts after ``retry_after`` seconds."""

    sentence = "Too many wrong passwords, try again in a moment"

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class WrongCredentials(Refusal):
    code = "wrong_credentials"
    sentence = "Wrong email or password"


class NotFound(Refusal):
    code = "not_found"
    sentence = "Not found"


class UnknownEmail(NotFound):
    """Nobody here has this ``email``."""

    sentence = "Nobody here has this email"

    def __init__(self, email: str) -> None:
        super().__init__()
        self.email = email


class Conflict(Refusal):
    code = "conflict"
    sentence = "Already there"


class Unavailable(Refusal):
    code = "unavailable"
    sentence = "The database is busy, try again in a moment"


class InternalError(Refusal):
    code = "internal_error"
    sentence = "Something went wrong on the server"


class StorageUnavailable(LiveguardError):
    """The database cannot be read or written just now."""


class Unanswered(StorageUnavailable):
    """The database does not answer: what was to be written may be written yet, or may not."""


class ConfigurationError(LiveguardError):
    """A setting or a file that stops the start; its text is one line that names it."""
