"""Where things are, whatever folder a notebook, a test or a command was started from."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
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
    own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"  # containers that share a disk may share the numbers of processes
    temporary = path.with_name(f".{path.stem}.{own}.partial{path.suffix}")  # the suffix says the format
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
def atomic_folder(path, own=()):
    """A temporary folder; its files appear in `path` on success, and nothing does on failure.

    It is made inside of `path` where that is there, which may be the mount point of another disk, or not ours to write to, and
    beside it otherwise.
    own  names of files that an earlier run may have left in `path`: those that are not made again are removed, on success.
    """
    path = Path(path).absolute()
    if os.path.lexists(path) and not path.is_dir():  # a link that leads nowhere is no place for a folder either
        raise NotADirectoryError(f"{path} is a file; a folder is wanted")
    made = [parent for parent in path.parents if not parent.exists()]
    temporary = None
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            within = path if path.exists() else path.parent
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=within))
        except OSError as error:
            raise type(error)(f"{path}: cannot be written to ({error.strerror}); want a folder that can") from None
        yield temporary
        path.mkdir(exist_ok=True)
        stale = [path / name for name in own if not (temporary / name).exists()]
        for file in sorted(temporary.iterdir()):
            os.replace(file, path / file.name)
        for file in stale:
            file.unlink(missing_ok=True)
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:  # innermost first
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)
