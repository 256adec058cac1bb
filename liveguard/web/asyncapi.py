"""The live interface, described for programs: an AsyncAPI 3.0 document, made of the routing table and of the events.

As the standard has it, the document is written from the server's side: it receives what clients say, and sends what
they hear.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from liveguard.events import (
    BOTH,
    CLIENT_EVENTS,
    MAX_NESTING,
    REFUSALS,
    SERVER_EVENTS,
    ClientEvent,
    Identified,
    Role,
    ServerEvent,
    data_of,
)
from liveguard.events.close_codes import (
    INTERNAL_ERROR,
    INVALID_DATA,
    KEEPALIVE_MISSED,
    NOT_AUTHENTICATED,
    PROTOCOL_ERROR,
    RESTART,
    TOO_BIG,
    TOO_MANY,
    TRY_AGAIN,
)
from liveguard.web.application import Route
from liveguard.web.base import Door
from liveguard.web.engineio import EngineDoor
from liveguard.web.openapi import BEARER, JSON, Json, about, schemas, words_of
from liveguard.web.sockets import SEQ, SUBPROTOCOL, TOKEN_PREFIX, Socket

Event = ClientEvent | ServerEvent

CLOSE_CODES: Final = {
    PROTOCOL_ERROR: "it is not WebSocket as RFC 6455 has it",
    INVALID_DATA: "a text that is not UTF-8",
    TOO_BIG: "a frame that is too large",
    INTERNAL_ERROR: "a fault of the server's; come back",
    RESTART: "the server restarts; come back",
    TRY_AGAIN: "too slow; or, after a `session-error` with `unavailable`, the database is busy; come back",
    NOT_AUTHENTICATED: "not signed in, or not any more",
    KEEPALIVE_MISSED: "no sign of life",
    TOO_MANY: "too many messages, or connections",
}

ABOUT = """
Two transports carry the same events and share the same rooms: a native WebSocket with two addresses, and Socket.IO.
Names are camelCase; a time is ISO 8601 in UTC with milliseconds and `Z`; a duration is in whole seconds; an id is a
text without meaning. What a client does not know, it ignores: there may be more one day.

Why a connection was closed:

| code | |
|---|---|
"""

NATIVE = f"""
Each message is one text frame with one JSON object, nested {MAX_NESTING} deep at most. The `id` of a client's frame
comes back as `replyTo` in each direct answer, however late. Whoever is not let in has the upgrade answered, hears one
`session-error`, and is closed with {NOT_AUTHENTICATED}. The server pings.
"""

SOCKET_IO = """
Socket.IO, protocol 5, over Engine.IO 4, by WebSocket and by polling, in the default namespace. Each message is an event
packet: the name, then one object or nothing. One connection speaks as a ward and as a guardian. An acknowledgement,
where one is asked for, says once more what the direct answer says; the event is sent as well. Whoever is not let in
gets `connect_error` with the message, and the code as `data.code`.
"""

SUBPROTOCOLS = f"`{SUBPROTOCOL}, {TOKEN_PREFIX}T`, which is how a browser can say its token; `{SUBPROTOCOL}` is chosen."
AUTH = 'The token of the handshake: `auth: {"token": "T"}`.'
COOKIE = "The dashboard's cookie, for a page of this server's own."
SINCE = "the last `seq` that this guardian has seen; what else it may be is ignored"


class Reply(Struct, rename="camel"):
    """What is in each frame that the server sends."""

    reply_to: Annotated[str, Meta(description="the id of the frame that this answers")] | UnsetType = UNSET


@dataclass(frozen=True)
class Channel:
    """One address: who speaks there, and in which of the two shapes of a message."""

    address: str
    handler: type[Door]
    roles: tuple[Role, ...]
    native: bool

    @property
    def name(self) -> str:
        """Its name in the document."""
        return self.address.strip("/").rpartition("/")[2].replace(".", "")

    @property
    def said(self) -> list[type[ClientEvent]]:
        """What clients say here."""
        return [event for event in CLIENT_EVENTS.values() if set(event.said_by) & set(self.roles)]

    @property
    def heard(self) -> list[type[ServerEvent]]:
        """What clients hear here."""
        heard = [event for event in SERVER_EVENTS.values() if set(event.heard_by) & set(self.roles)]
        return [event for event in heard if self.native or not event.native_only]

    def message(self, event: type[Event]) -> str:
        """The name of the message in which an event comes."""
        return _frame(event) if self.native else event.__name__

    def answer(self, event: type[ServerEvent]) -> str:
        """The name of the message in which an event comes as a direct answer."""
        return _frame(event) if self.native else _acknowledgement(event)

    def refer(self, *messages: str) -> list[Json]:
        """References to messages of this channel."""
        return [{"$ref": f"#/channels/{self.name}/messages/{message}"} for message in messages]

    def describe(self) -> Json:
        """The channel in the document."""
        summary, _ = words_of(self.handler)
        events: list[type[Event]] = [*self.said, *self.heard]
        messages = [self.message(event) for event in events]
        messages += [self.answer(event) for event in self.heard if event.answers]
        found: Json = {
            "address": self.address,
            "summary": summary,
            "description": (NATIVE if self.native else SOCKET_IO).strip(),
            "servers": [{"$ref": "#/servers/native" if self.native else "#/servers/socketio"}],
            "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
        }
        if self.native and "guardian" in self.roles:
            since = {"type": "string", "pattern": f"^{SEQ.pattern}$", "description": SINCE}
            query = {"type": "object", "properties": {"since": since}}
            found["bindings"] = {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}}
        return found

    def operations(self) -> Iterator[tuple[str, Json]]:
        """What can be said and heard here, and what answers what."""
        channel = {"$ref": f"#/channels/{self.name}"}
        for said in self.said:
            answers = [self.answer(event) for event in self.heard if said in event.answers]
            yield (
                f"{self.name}_receive_{said.__name__}",
                {
                    "action": "receive",
                    "channel": channel,
                    "summary": words_of(said)[0],
                    "messages": self.refer(self.message(said)),
                    "reply": {"channel": channel, "messages": self.refer(*answers)},
                },
            )
        for heard in self.heard:
            yield (
                f"{self.name}_send_{heard.__name__}",
                {
                    "action": "send",
                    "channel": channel,
                    "summary": words_of(heard)[0],
                    "messages": self.refer(self.message(heard)),
                },
            )


def asyncapi(routes: Iterable[Route], origin: str, login_cookie: str) -> bytes:
    """The document of a server that is reached at ``origin``, whose dashboard signs in by a cookie of this name."""
    channels = list(_channels(routes))
    messages, components = _messages()
    codes = "\n".join(f"| {code} | {why} |" for code, why in CLOSE_CODES.items())
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": about("liveguard, live", ABOUT + codes),
            "defaultContentType": JSON,
            "servers": _servers(origin),
            "channels": {channel.name: channel.describe() for channel in channels},
            "operations": dict(each for channel in channels for each in channel.operations()),
            "components": {
                "schemas": components,
                "messages": messages,
                "securitySchemes": {
                    "bearer": BEARER,
                    "subprotocol": _key("header", "Sec-WebSocket-Protocol", SUBPROTOCOLS),
                    "cookie": _key("cookie", login_cookie, COOKIE),
                    "auth": {"type": "apiKey", "in": "password", "description": AUTH},
                },
            },
        }
    )


def _channels(routes: Iterable[Route]) -> Iterator[Channel]:
    for path, handler in (route[:2] for route in routes):
        if issubclass(handler, Socket):
            yield Channel(path, handler, ("ward",) if handler.as_ward else ("guardian",), native=True)
        elif issubclass(handler, EngineDoor):
            yield Channel(path, handler, BOTH, native=False)


def _key(place: str, name: str, description: str) -> Json:
    return {"type": "httpApiKey", "in": place, "name": name, "description": description}


def _servers(origin: str) -> Json:
    place = urlsplit(origin)

    def server(protocol: str, version: str, *schemes: str) -> Json:
        security = [{"$ref": f"#/components/securitySchemes/{scheme}"} for scheme in schemes]
        return {"host": place.netloc, "protocol": protocol, "protocolVersion": version, "security": security}

    return {
        "native": server("wss" if place.scheme == "https" else "ws", "13", "bearer", "subprotocol", "cookie"),
        "socketio": server("socket.io", "5", "auth"),
    }


# -- messages --------------------------------------------------------------------------------------------------------


@cache
def _messages() -> tuple[Json, Json]:
    """All messages by their names, and the schemas to which they refer."""
    types = dict(_types())
    made, components = schemas(kind for _, kind in types.values())
    messages = {}
    for name, (event, kind) in types.items():
        messages[name] = {"name": event.name, "title": name, "summary": words_of(event)[0], "payload": made[kind]}
        if name == _frame(event):
            id = "id" if issubclass(event, ClientEvent) else "replyTo"
            messages[name]["correlationId"] = {"location": f"$message.payload#/{id}"}
    return messages, components


def _types() -> Iterator[tuple[str, tuple[type[Event], Any]]]:
    """The name of each message, its event, and the type of what is on the wire."""
    for said in CLIENT_EVENTS.values():
        yield _frame(said), (said, _frame_of_client(said))
        yield said.__name__, (said, data_of(said))
    for heard in SERVER_EVENTS.values():
        name: Any = Literal[heard.name]
        frame = defstruct(_frame(heard), [("event", name), ("data", heard)], bases=(Reply,), kw_only=True)
        yield _frame(heard), (heard, frame)
        if not heard.native_only:
            yield heard.__name__, (heard, heard)
        if heard.answers:
            ok = Annotated[bool, Meta(extra_json_schema={"const": heard not in REFUSALS})]
            ack = defstruct(_acknowledgement(heard), [("ok", ok), ("event", name), ("data", heard)])
            yield _acknowledgement(heard), (heard, ack)


def _frame_of_client(event: type[ClientEvent]) -> type:
    needed = any(field.required for field in msgspec.structs.fields(event))
    data = ("data", data_of(event)) if needed else ("data", data_of(event), None)
    name: Any = Literal[event.name]
    return defstruct(_frame(event), [("event", name), data], bases=(Identified,), frozen=True, kw_only=True)


def _frame(event: type[Event]) -> str:
    return f"{event.__name__}Frame"


def _acknowledgement(event: type[ServerEvent]) -> str:
    return f"{event.__name__}Acknowledgement"
