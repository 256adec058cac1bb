"""Why a WebSocket is closed: the codes of a close frame (RFC 6455, 7.4.1 and 11.7)."""

from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005  # never on the wire: stands for a close frame without a code
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012
TRY_AGAIN: Final = 1013
NOT_AUTHENTICATED: Final = 4401
KEEPALIVE_MISSED: Final = 4408
TOO_MANY: Final = 4429
