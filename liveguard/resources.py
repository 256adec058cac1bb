"""Where the pages and the styles lie: inside the package once it is installed, beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def templates() -> Path:
    """The folder of the Jinja2 templates."""
    return _folder("templates")


def static() -> Path:
    """The folder of what is served as it is: styles, scripts and pictures."""
    return _folder("static")


def _folder(name: str) -> Path:
    for home in (_PACKAGE, _PACKAGE.parent):
        if (home / name).is_dir():
            return home / name
    raise FileNotFoundError(f"liveguard is not installed completely: its folder {name} is missing")
