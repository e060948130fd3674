"""Downloads from a server on this machine: whole or not there, resumed, and refused once they differ."""

import hashlib
import json
from multiprocessing.pool import ThreadPool

import pytest
from local_server import serve

from samlib import download
from samlib.download import FetchError, fetch

CONTENT = b"\x80\x04" + bytes(i * 7 % 251 for i in range(50_000))


@pytest.fixture()
def server():
    with serve(**{"net.pkl": CONTENT}) as one:
        yield one


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def get(server, folder, name="net.pkl"):
    return fetch(server.url(name), folder, progress=False)


def test_a_file_comes_whole_and_once(server, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert get(server, folder).read_bytes() == CONTENT
    assert get(server, folder).read_bytes() == CONTENT and len(server.asked) == 1
    assert names(folder) == ["digests.json", "net.pkl"]
    entry = json.loads((folder / "digests.json").read_text())["net.pkl"]
    assert entry["sha256"] == hashlib.sha256(CONTENT).hexdigest() and entry["size"] == len(CONTENT)
    assert entry["from"] == server.url("net.pkl")


def test_progress_is_shown_by_name(server, tmp_path, capsys):
    fetch(server.url("net.pkl"), tmp_path)
    assert "net.pkl: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("tags", [True, False])
def test_what_broke_off_is_gone_on_with(server, tmp_path, tags):
    server.most, server.tags = 30_000, tags
    with pytest.raises(FetchError, match=r"broken off after 30,000 of 50,002 bytes.*30,000 bytes of it are kept"):
        get(server, tmp_path)
    assert names(tmp_path) == ["digests.json", "net.pkl.part"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=30000-"]
    assert names(tmp_path) == ["digests.json", "net.pkl"]
    assert set(json.loads((tmp_path / "digests.json").read_text())) == {"net.pkl"}


def test_a_part_of_another_version_is_not_gone_on_with(server, tmp_path):
    server.most = 30_000
    with pytest.raises(FetchError):
        get(server, tmp_path)
    server.most, server.files["/net.pkl"] = None, b"\x80" + CONTENT[:0:-1]
    assert get(server, tmp_path).read_bytes() == server.files["/net.pkl"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "net.pkl.part").write_bytes(b"something else")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_the_whole_or_more_starts_again(server, tmp_path):
    (tmp_path / "net.pkl.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_file_that_differs_from_what_was_first_seen_is_refused(server, tmp_path):
    path = get(server, tmp_path)
    path.write_bytes(CONTENT[:-1] + b"\1")
    with pytest.raises(ValueError, match="net.pkl: not the file that was first seen here, its SHA-256") as caught:
        get(server, tmp_path)
    assert "\n" not in str(caught.value) and path.is_file() and len(server.asked) == 1
    path.unlink()
    server.files["/net.pkl"] = CONTENT + b"new"  # nor is another one taken from the address
    with pytest.raises(ValueError, match="not the file that was first seen"):
        get(server, tmp_path)


def test_a_file_put_there_by_hand_is_recorded_too(server, tmp_path):
    (tmp_path / "net.pkl").write_bytes(CONTENT)
    get(server, tmp_path)
    assert server.asked == []
    (tmp_path / "net.pkl").write_bytes(CONTENT + b"\0")
    with pytest.raises(ValueError, match="not the file"):
        get(server, tmp_path)


def test_offline_it_says_what_is_wanted_from_where_and_where_to_put_it(server, tmp_path):
    url = server.url("net.pkl")
    server.server_close()  # nobody answers there any more
    for address in (url, "http://nowhere.invalid/net.pkl"):
        with pytest.raises(FetchError) as caught:
            fetch(address, tmp_path, progress=False)
        message = str(caught.value)
        assert f"net.pkl is wanted from {address}" in message and f"put it into {tmp_path}" in message
        assert "\n" not in message and names(tmp_path) == []


def test_what_the_server_does_not_have_is_named(server, tmp_path):
    with pytest.raises(FetchError, match="other.pkl is wanted.*HTTP 404"):
        get(server, tmp_path, "other.pkl")
    assert names(tmp_path) == []


def test_a_page_is_no_checkpoint_and_is_not_recorded(server, tmp_path):
    server.files["/net.pkl"] = b"<!DOCTYPE html><html>please log in</html>"
    with pytest.raises(ValueError, match="begins with b'<!DOCTYP'; a page, perhaps"):
        get(server, tmp_path)
    assert "net.pkl" not in json.loads((tmp_path / "digests.json").read_text()) and not [*tmp_path.glob("net*")]
    server.files["/net.pkl"] = CONTENT
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_more_than_the_disk_has_is_not_begun(server, tmp_path):
    server.lie = 1 << 60
    with pytest.raises(FetchError, match="more than the disk has left"):
        get(server, tmp_path)
    assert not [*tmp_path.glob("net*")]


def test_ctrl_c_keeps_the_part(server, tmp_path, monkeypatch):
    class Bar:
        def __init__(self, *arguments, **options):
            pass

        __enter__ = lambda self: self
        __exit__ = lambda self, *error: False

        def update(self, count):
            raise KeyboardInterrupt

    monkeypatch.setattr(download, "tqdm", Bar)
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "net.pkl.part").stat().st_size > 0
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_damaged_record_is_no_reason_to_trust(server, tmp_path):
    get(server, tmp_path)
    for damaged in ("{", "[]", '{"net.pkl": 3}'):
        (tmp_path / "digests.json").write_text(damaged)
        with pytest.raises(ValueError, match="digests.json: damaged"):
            get(server, tmp_path)


def test_only_web_addresses_are_followed(tmp_path):
    (tmp_path / "a.pkl").write_bytes(CONTENT)
    with pytest.raises(ValueError, match="https://"):
        fetch((tmp_path / "a.pkl").as_uri(), tmp_path / "to", progress=False)


def test_several_at_once_fetch_it_once(server, tmp_path):
    with ThreadPool(3) as pool:  # each has a file handle of its own, as processes have
        found = pool.map(lambda _: get(server, tmp_path), range(3))
    assert {path.read_bytes() == CONTENT for path in found} == {True} and len(server.asked) == 1


def test_a_page_is_no_file_of_pytorch_either(server, tmp_path):
    server.files |= {"/pytorch_model.bin": b"<!DOCTYPE html>", "/new.bin": b"PK\3\4...", "/old.bin": CONTENT}
    with pytest.raises(ValueError, match="not the pytorch_model.bin that is wanted"):
        get(server, tmp_path, "pytorch_model.bin")
    assert get(server, tmp_path, "new.bin").is_file() and get(server, tmp_path, "old.bin").is_file()


@pytest.mark.parametrize("end", ["", "..", ".", "..%2F..%2Fa.pkl", "a%5Cb.pkl", "a%00.pkl"])
def test_an_address_that_names_no_file_is_refused(end, tmp_path):
    with pytest.raises(ValueError, match="ends in no name of a file"):
        fetch(f"https://nowhere.invalid/folder/{end}", tmp_path / "new", progress=False)
    assert not [*tmp_path.iterdir()]


def test_what_the_refusal_of_another_file_says_helps(server, tmp_path):
    """Where the file has changed at its address, to delete the file alone would fetch what is refused again."""
    path = get(server, tmp_path)
    server.files["/net.pkl"] = CONTENT + b"new"
    path.unlink()
    with pytest.raises(ValueError, match="delete the file to fetch it again, and its entry in digests.json too if it was changed"):
        get(server, tmp_path)
