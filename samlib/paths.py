"""Where things are, whatever folder a notebook, a test or a command was started from."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SAMLIB_DATA", ROOT / "data"))
FIGURES = ROOT / "figures"
NOTEBOOKS = ROOT / "notebooks"
OUTPUTS = ROOT / "outputs"


def results(profile: str) -> Path:
    """Where the figures and numbers of a profile go: "full" to figures/, "small" to figures/small/, others to outputs/figures/."""
    return {"full": FIGURES, "small": FIGURES / "small"}.get(profile, OUTPUTS / "figures")


def cache():
    """The folder for what is expensive to make and can be made again; SAMLIB_CACHE moves it."""
    folder = Path(os.environ.get("SAMLIB_CACHE", OUTPUTS / "cache"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def weights():
    """The user's folder for official files; SAMLIB_WEIGHTS moves it. It may not be there yet."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SAMLIB_WEIGHTS") or Path(user, "samlib", "weights"))


def digest(path):
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def atomic_file(path):
    """A temporary name beside `path`, renamed to it on success and removed on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")  # the suffix says the format
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers make a file for its owner only
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask():
    """The permissions that this process takes from new files; it can only be read by setting it."""
    value = os.umask(0)
    os.umask(value)
    return value


@contextlib.contextmanager
def atomic_folder(path):
    """A temporary folder beside `path`; its files appear in `path` on success, and nothing does on failure."""
    path = Path(path).absolute()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; a folder is wanted")
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield temporary
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            os.replace(file, path / file.name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:  # innermost first
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)
