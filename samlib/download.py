"""Files from an address, as data that may be large: resumed where they broke off, there whole or not at all, and the same
as at first sight.

No digests are published with these files, so the SHA-256 of each is recorded when it is first seen, in digests.json
beside it, and a file that later differs is refused.
"""

import contextlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm.auto import tqdm

from samlib import paths

RECORD = "digests.json"
TIMEOUT = 20  # seconds without an answer
TORCH = b"PK\3\4", b"\x80"  # what torch.save writes, now and formerly
BEGINNINGS = {".pkl": (b"\x80",), ".pt": TORCH, ".bin": TORCH, ".npy": (b"\x93NUMPY",)}  # of what is no error page


class FetchError(FileNotFoundError):
    """A file is not here and cannot be had; the message says which, from where, and where to put it."""


def fetch(url: str, folder, progress: bool = True) -> Path:
    """The file of `url` in `folder`, downloaded first if it is not there; a part of it, NAME.part, is gone on with.

    FetchError where it cannot be had, ValueError where it differs from what was recorded at first sight.
    """
    target = Path(folder) / name_of(url)
    with _alone(target.parent):
        if not target.is_file():
            _download(url, target, progress)
        check(target, url)
    return target


def name_of(url: str) -> str:
    """The name that the file of an address gets. ValueError for one that is none, or leads elsewhere: ..%2F is ../"""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1])
    if name in ("", ".", "..") or {*name} & {*"/\\\0"}:
        raise ValueError(f"{url}: ends in no name of a file, but in {name!r}; want the address of the file itself")
    return name


def check(path: Path, url: str = "") -> None:
    """Record the SHA-256 of a file that was never seen before; ValueError, in one line, where it is another by now."""
    digest, record = paths.digest(path), _read(path.parent)
    known = record.get(path.name, {}).get("sha256")
    if known is None:
        _check_beginning(path, path)
        entry = {"sha256": digest, "size": path.stat().st_size, "from": url, "first seen": time.strftime("%Y-%m-%d")}
        _write(path.parent, {**record, path.name: entry})
    elif known != digest:
        raise ValueError(f"{path}: not the file that was first seen here, its SHA-256 differs from that in {RECORD}; delete the "
                         f"file to fetch it again, and its entry in {RECORD} too if it was changed on purpose, by you or at its address")


def _download(url, target, progress):
    part, record = target.with_name(f"{target.name}.part"), _read(target.parent)
    have = part.stat().st_size if part.is_file() else 0
    try:
        with _open(url, have, record.get(part.name, {}).get("tag")) as answer:
            have, total = _extent(answer, have)
            _write(target.parent, {**record, part.name: {"from": url, "tag": _tag(answer)}})
            if total and total - have > shutil.disk_usage(target.parent).free:
                raise OSError(f"{total / 1e9:.1f} GB, more than the disk has left")
            _receive(answer, part, have, total, progress and target.name)
    except (OSError, http.client.HTTPException) as error:  # no name, no route, no answer, an answer of 404, broken off
        reason = " ".join(f"{getattr(error, 'reason', '') or error or type(error).__name__}".split())
        reason = f"HTTP {error.code}, {reason}" if isinstance(error, urllib.error.HTTPError) else reason
        kept = f"; {part.stat().st_size:,} bytes of it are kept and gone on from" if part.is_file() else ""
        raise FetchError(f"{target.name} is wanted from {url}, which cannot be had now ({reason}){kept}: call again when "
                         f"online, or put it into {target.parent}") from None
    try:
        _check_beginning(part, url)
    except ValueError:
        part.unlink()  # there is nothing to go on from
        raise
    part.replace(target)
    _write(target.parent, {name: entry for name, entry in _read(target.parent).items() if name != part.name})


def _open(url, have, tag):
    """The answer to a request for what is behind the first `have` bytes, if the file is still the one with this tag."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url}: want an address that begins with https://")
    headers = {"User-Agent": "samlib", **({"Range": f"bytes={have}-"} if have else {}), **({"If-Range": tag} if have and tag else {})}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        return _open(url, 0, None)  # nothing is behind: the part is whole, or of another file


def _extent(answer, have) -> tuple[int, int | None]:
    """(bytes that are kept of what we have, bytes of the whole file)."""
    length = answer.headers.get("Content-Length")
    if answer.status != 206:
        return 0, int(length) if length else None
    unit, _, found = answer.headers.get("Content-Range", "").partition(" ")
    begin, total = found.partition("-")[0], found.partition("/")[2]
    if unit != "bytes" or begin != str(have) or not total.isdecimal():
        raise OSError("the server answered with another part than was asked for; delete the .part file")
    return have, int(total)


def _receive(answer, part, have, total, title):
    with open(part, "ab" if have else "wb") as file, tqdm(
        total=total, initial=have, desc=title or None, unit="B", unit_scale=True, disable=not title
    ) as bar:
        while block := answer.read(1 << 20):
            file.write(block)
            bar.update(len(block))
        if total is not None and file.tell() != total:
            raise OSError(f"broken off after {file.tell():,} of {total:,} bytes")


def _tag(answer):
    """What tells this version of the file from others, for If-Range, which takes no weak tags."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _check_beginning(path, source):
    with open(path, "rb") as file:
        start = file.read(8)
    name = path.name.removesuffix(".part")
    if not start.startswith(BEGINNINGS.get(Path(name).suffix, b"")):
        raise ValueError(f"{source}: not the {name} that is wanted, since it begins with {start!r}; a page, perhaps")


@contextlib.contextmanager
def _alone(folder):
    """One process at a time fetches into a folder; a folder that cannot be written to is only read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "a")
    except OSError:
        yield
        return
    with file:
        with contextlib.suppress(ImportError):  # no such locks on Windows
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(folder) -> dict:
    try:
        record = json.loads((folder / RECORD).read_text())
        if all(type(entry) is dict for entry in record.values()):
            return record
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        pass
    raise ValueError(f"{folder / RECORD}: damaged; restore it, or delete it to trust the files as they are now")


def _write(folder, record):
    if os.access(folder, os.W_OK):  # not so where it is shared, read-only
        with paths.atomic_file(folder / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")
