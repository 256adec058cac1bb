"""The headers that every answer carries, whatever it is and whether it went well.

A page may load what this server serves, may be framed by nobody, and may ask the browser for nothing but the place of
a ward who shares it and a screen that stays on.
"""

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)

PERMISSIONS_POLICY = ", ".join(
    [
        "geolocation=(self)",
        "screen-wake-lock=(self)",
        "accelerometer=()",
        "camera=()",
        "display-capture=()",
        "gyroscope=()",
        "magnetometer=()",
        "microphone=()",
        "payment=()",
        "usb=()",
    ]
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": PERMISSIONS_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

# Everything is personal until a handler says otherwise, as that of the static files does.
PERSONAL = "no-store"

# Sent where people come through TLS: a year, during which their browsers try nothing else.
STRICT_TRANSPORT_SECURITY = "max-age=31536000"


def security_headers(scheme: str) -> dict[str, str]:
    """The headers of every answer of a site that is reached by this scheme."""
    headers = {**SECURITY_HEADERS, "Cache-Control": PERSONAL}
    if scheme == "https":
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    return headers
