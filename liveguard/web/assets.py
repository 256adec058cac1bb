"""The static files, held in memory and served under a name that changes with them.

All files share one hash, which stands in the path before their names: ``/static/3f2a9c1b44d0/app.css``. So scripts
import each other by plain relative names, every address may be cached for ever, and nothing is built.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOREVER = "public, max-age=31536000, immutable"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
TEXT = ("text/", "image/svg+xml")
IMPORT = re.compile(r'from "\./([\w.]+)"')


@dataclass(frozen=True)
class Asset:
    """One file: its bytes, and what they are."""

    body: bytes
    type: str

    @cached_property
    def gzipped(self) -> bytes | None:
        """The same compressed where that pays, once somebody has asked for it."""
        return gzip.compress(self.body, mtime=0) if self.type.startswith(TEXT) else None


class Assets:
    """All files of a folder that are of these types."""

    def __init__(self, folder: Path) -> None:
        self._assets = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES
        }
        digest = hashlib.sha256()
        for name, asset in self._assets.items():
            digest.update(f"{name}\0{len(asset.body)}\0".encode() + asset.body)
        self._imports = {
            name: IMPORT.findall(asset.body.decode()) for name, asset in self._assets.items() if name.endswith(".js")
        }
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Where a file is served. KeyError when there is none of that name."""
        self._assets[name]
        return f"/static/{self.version}/{name}"

    def imported(self, scripts: list[str]) -> list[str]:
        """All that scripts import, and what that imports: a page asks for all of it at once, not for one by one."""
        found = scripts.copy()
        for name in found:
            found += dict.fromkeys(one for one in self._imports[name] if one not in found)
        return found[len(scripts) :]

    def get(self, name: str) -> Asset | None:
        """A file by its name."""
        return self._assets.get(name)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    kind = TYPES[path.suffix]
    return Asset(body, f"{kind}; charset=utf-8" if kind.startswith(TEXT) else kind)
