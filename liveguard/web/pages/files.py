"""The static files."""

from liveguard.errors import NotFound
from liveguard.web.assets import FOREVER, Asset
from liveguard.web.base import Door, everybody


class File(Door):
    """A door that hands out what is the same for everybody."""

    admit = everybody

    def send(self, asset: Asset | None) -> None:
        """Answer with a file. Raises NotFound when there is none."""
        if asset is None:
            raise NotFound
        self.set_header("Content-Type", asset.type)
        self.set_header("Vary", "Accept-Encoding")
        if asset.gzipped and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(asset.gzipped)
        else:
            self.finish(asset.body)


class Static(File):
    """``GET /static/{version}/{name}``: a file of exactly this version, for ever."""

    def get(self, version: str, name: str) -> None:
        assets = self.services.assets
        self.set_header("Cache-Control", FOREVER)
        if version != assets.version:
            self.set_header("Cache-Control", "no-store")
            raise NotFound
        self.send(assets.get(name))


class Fixed(File):
    """A file under an address of its own, asked for anew each time: ``/sw.js`` and ``/favicon.ico``."""

    def initialize(self, route: str, name: str) -> None:  # type: ignore[override]
        super().initialize(route)
        self._name = name

    def get(self) -> None:
        self.set_header("Cache-Control", "no-cache")
        self.send(self.services.assets.get(self._name))
