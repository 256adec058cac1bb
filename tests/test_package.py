"""The package: installed from a wheel, installed editable, and run from the checkout, it finds its pages and styles."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from subprocess import PIPE
from urllib.parse import urljoin
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

import liveguard
from liveguard import resources

ROOT = Path(__file__).parent.parent
SHIPPED = ("liveguard", "templates", "static", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
FIND = "from liveguard import resources as r; print(r.templates(), r.static(), sep='\\n')"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is made of, so that building it leaves nothing in this one."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, checkout)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*arguments: str | Path) -> None:
    run(Path(sys.executable), "-m", "pip", "--quiet", "--no-input", *arguments)


def run(program: Path, *arguments: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([program, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Ours without what would let a program find this checkout or obey this machine's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LIVEGUARD_"))}


def own_environment(folder: Path) -> Path:
    """A virtual environment that borrows the libraries of this one, but not liveguard; its Python."""
    venv.create(folder, with_pip=False)
    home = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (home / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


@pytest.mark.slow
def test_the_wheel_holds_everything(wheel: Path, checkout: Path) -> None:
    with ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    for folder in ("liveguard", "templates", "static"):
        inside = "" if folder == "liveguard" else "liveguard/"
        present = {
            f"{inside}{path.relative_to(checkout)}"
            for path in (checkout / folder).rglob("*")
            if path.is_file() and path.suffix not in (".po", ".pot")
        }
        assert present - packed == set(), "setup.cfg does not name all packages and their data"
    assert any(name.endswith("LICENSE") for name in packed)
    assert not any(name.startswith(("tests", "benchmarks")) for name in packed)


@pytest.mark.slow
def test_a_wheel_finds_its_pages_inside_of_itself_and_serves_them(
    wheel: Path, tmp_path: Path, serving: Callable[[Path, Path], None]
) -> None:
    python = own_environment(tmp_path / "venv")
    pip("--python", python, "install", "--ignore-installed", "--no-deps", "--no-index", wheel)
    home = run(python, "-c", "import liveguard; print(liveguard.__path__[0])", cwd=tmp_path).strip()
    assert home.startswith(str(tmp_path))
    assert run(python, "-c", FIND, cwd=tmp_path).split() == [f"{home}/templates", f"{home}/static"]
    version = run(tmp_path / "venv/bin/liveguard", "--version", cwd=tmp_path)
    assert version == f"liveguard {liveguard.__version__}\n"
    serving(python, tmp_path)


@pytest.mark.slow
def test_an_editable_install_finds_its_pages_beside_it_and_serves_them(
    checkout: Path, tmp_path: Path, serving: Callable[[Path, Path], None]
) -> None:
    python = own_environment(tmp_path / "venv")
    pip(
        *("--python", python, "install", "--ignore-installed", "--no-deps", "--no-index"),
        *("--no-build-isolation", "--editable", checkout),
    )
    assert run(python, "-c", FIND, cwd=tmp_path).split() == [f"{checkout}/templates", f"{checkout}/static"]
    serving(python, tmp_path)


def test_a_run_from_the_checkout_finds_its_pages_beside_it() -> None:
    assert (resources.templates(), resources.static()) == (ROOT / "templates", ROOT / "static")


@pytest.mark.slow
def test_a_run_from_the_checkout_serves_them(checkout: Path, serving: Callable[[Path, Path], None]) -> None:
    serving(own_environment(checkout / "venv"), checkout)


def test_dependencies_have_bounds_on_both_sides() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"] + "".join(setup["options.extras_require"].values())
    needed = [line for line in lines.split("\n") if line and not line.startswith("#")]
    assert len(needed) > 10
    for line in needed:
        assert re.fullmatch(r"[\w-]+(\[\w+\])? >=[\d.]+,<[\d.]+", line), line


def test_pyproject_names_the_build_and_nothing_else() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert set(tomllib.loads(text)) == {"build-system"}
    assert len(text.splitlines()) == 3


@pytest.fixture
def serving(free_port: int, tmp_path: Path) -> Callable[[Path, Path], None]:
    """Start this Python's liveguard in a folder, and see that its sign-in page arrives, and that page's style."""

    def look(python: Path, cwd: Path) -> None:
        command = [python, "-m", "liveguard", "serve", "--port", str(free_port), "--database", tmp_path / "its.db"]
        server = subprocess.Popen(command, cwd=cwd, env=environment(), stdout=PIPE, stderr=PIPE, text=True)
        assert server.stdout is not None
        try:
            if found := re.search(r"http://\S+", server.stdout.readline()):
                fetch_page_and_style(found[0])
        finally:
            server.terminate()
            _, complaints = server.communicate()
        assert found, complaints
        assert (server.returncode, "Traceback" in complaints) == (0, False), complaints

    return look


def fetch_page_and_style(url: str) -> None:
    with urlopen(urljoin(url, "/login")) as answer:
        page = answer.read().decode()
    style = re.search(r'<link[^>]+rel="stylesheet"[^>]+href="([^"]+)"', page)
    assert style, page
    with urlopen(urljoin(url, style[1])) as answer:
        assert answer.headers["Content-Type"].startswith("text/css")
        assert answer.read()
