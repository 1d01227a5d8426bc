from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from itertools import chain

import pytest
from server import closed_port, reachable, until

from audio_neurons.datasets import archives
from audio_neurons.fetching import collection, download
from audio_neurons.fetching.checksums import Lock
from audio_neurons.fetching.collection import Item, batch, fetch_batch, from_listing, from_manifest
from audio_neurons.fetching.download import DiskFull, DownloadError
from audio_neurons.running import runtime

NAMES = [f"{folder}/take {n}.wav" for n in range(10) for folder in ("b", "a")]
FILES = {name: os.urandom(2000 + n) for n, name in enumerate(NAMES)}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
ITEMS = [Item(name) for name in NAMES]


@pytest.fixture
def server(monkeypatch):
    with reachable(monkeypatch) as server:
        for name in NAMES:
            put(server, name)
        yield server


def put(server, name, data=None, **faults):
    return server.put("x/" + name.replace(" ", "%20"), FILES[name] if data is None else data, **faults)


def bring(server, folder, items=ITEMS, **options):
    fetch_batch(items, [f"{server.url}/x/{{name}}"], folder / "c.tar", folder / "missing.csv", **options)


def packed(folder):
    return list(archives.members(folder / "c.tar"))


def missing(folder):
    with open(folder / "missing.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["name", "reason"]
    return dict(rows)


def only(folder):
    return sorted(path.name for path in folder.iterdir())


DONE = ["c.tar", "missing.csv"]


# Lists and batches


def test_manifests_tell_names_sizes_and_checksums(tmp_path):
    digest = "Ab" * 32
    path = tmp_path / "m.csv"
    path.write_bytes(f"\ufeffname,bytes,sha256\r\na.wav,12,{digest}\r\n\r\nb/c d.wav,,\r\n".encode())
    assert from_manifest(path) == [Item("a.wav", 12, digest), Item("b/c d.wav")]


def test_listings_tell_names(tmp_path):
    path = tmp_path / "l.txt"
    path.write_bytes("# of 2020\r\nwww.h.org/de/ü 1.tgz  \r\n\nfr/b..2.tgz".encode())
    assert from_listing(path) == [Item("www.h.org/de/ü 1.tgz"), Item("fr/b..2.tgz")]


BAD = ["/etc/passwd", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "a\x07b", "https://h/a"]


@pytest.mark.parametrize("name", BAD)
def test_names_that_lead_astray_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="is not a relative path"):
        Item(name)
    (tmp_path / "l.txt").write_text(f"ok\n# x\n{name}\n")
    with pytest.raises(DownloadError, match=r"l\.txt, line 3: .* is not a relative path"):
        from_listing(tmp_path / "l.txt")
    (tmp_path / "m.csv").write_text(f"name,bytes,sha256\nok,1,\n{name},1,\n")
    with pytest.raises(DownloadError, match=r"m\.csv, line 3: .* is not a relative path"):
        from_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("name,bytes\na,1\n", "line 1: no column sha256"),
        ("", "line 1: no column bytes, name, sha256"),
        ("name,bytes,sha256\na,1,\na,1,\n", "line 3: a is listed twice"),
        ("name,bytes,sha256\na,x,\n", "line 2: .*'x'"),
        ("name,bytes,sha256\na,-1,\n", "line 2: -1 is not a number of bytes"),
        ("name,bytes,sha256\na,1,abc\n", "line 2: 'abc' is not a sha256"),
        ("name,bytes,sha256\n,1,\n", "line 2: '' is not a relative path"),
        ("name,bytes,sha256\n", "lists no files"),
    ],
)
def test_damaged_manifests_are_told_with_their_line(tmp_path, rows, told):
    (tmp_path / "m.csv").write_text(rows)
    with pytest.raises(DownloadError, match=rf"m\.csv.*{told}"):
        from_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\nb\na\n", "line 3: a is listed twice"),
        (b"# a\n\n", "lists no files"),
        (b"\xff", "not UTF-8 text"),
    ],
)
def test_damaged_listings_are_told_with_their_line(tmp_path, content, told):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(DownloadError, match=rf"l\.txt.*{told}"):
        from_listing(tmp_path / "l.txt")


@pytest.mark.parametrize(("count", "batches"), [(0, 3), (2, 5), (20, 1), (20, 7), (21, 7)])
def test_batches_are_all_items_in_order_and_of_one_size(count, batches):
    items = [Item(f"{n}") for n in range(count)]
    parts = [batch(items, n, batches) for n in range(batches)]
    assert list(chain(*parts)) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for number in (-1, batches):
        with pytest.raises(ValueError, match="no batch"):
            batch(items, number, batches)


# A batch


def test_a_pattern_picks_some_files():
    items = [Item("a_DFA.wav"), Item("a_IEO.wav"), Item("b_DFA.wav")]
    assert [item.name for item in collection.matching(items, "*_DFA*", "m.csv")] == ["a_DFA.wav", "b_DFA.wav"]
    with pytest.raises(DownloadError, match=r"m\.csv: no name matches `only`, .* first of 3 is a_DFA\.wav"):
        collection.matching(items, "*_dfa*", "m.csv")


def test_a_batch_is_packed_in_its_order(server, tmp_path, capsys):
    items = [Item(name, len(FILES[name]), DIGESTS[name].upper()) for name in NAMES]
    bring(server, tmp_path / "new", items)
    assert packed(tmp_path / "new") == list(FILES.items())
    assert missing(tmp_path / "new") == {}
    assert only(tmp_path / "new") == DONE
    assert len(server.requests) == 20
    assert server.connections <= 8
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" in ")[0] for line in told] == ["download c.tar: 20 files"]


def test_progress_counts_files(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "INTERVAL", 0.0)
    bring(server, tmp_path)
    told = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told[:-1]] == [
        f"download c.tar: {n}/20 files" for n in range(1, 21)
    ]


def test_the_order_of_arrival_and_the_machine_leave_no_trace(server, tmp_path):
    (tmp_path / "1").mkdir()
    bring(server, tmp_path / "1", parallel=1)
    for n, name in enumerate(NAMES):
        put(server, name, delay=0.1 * (n < 3))
    old = os.umask(0o077)
    try:
        bring(server, tmp_path / "2")
    finally:
        os.umask(old)
    assert [path.split("/")[1][7:] for path, _ in server.requests[20:]] != [n.split("/")[1] for n in NAMES]
    assert (tmp_path / "1" / "c.tar").read_bytes() == (tmp_path / "2" / "c.tar").read_bytes()
    with tarfile.open(tmp_path / "2" / "c.tar") as tar:
        facts = {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode, i.isreg()) for i in tar}
    assert facts == {(0, 0, 0, "", "", 0o644, True)}


def test_an_empty_batch_is_an_empty_tar(tmp_path):
    fetch_batch([], [], tmp_path / "c.tar", tmp_path / "missing.csv")
    assert packed(tmp_path) == []
    assert missing(tmp_path) == {}
    assert only(tmp_path) == DONE


def test_names_that_file_systems_do_not_take(server, tmp_path):
    names = ["a", "a.part", "a.part.json", "A", "a/b", "ü" * 200 + "/" + "x" * 300 + ".wav"]
    items = [Item(name) for name in names]
    server.put("x/a", b"1", cut=1)
    for name in names[1:]:
        server.put("x/" + name.replace("ü", "%C3%BC"), name.encode())
    bring(server, tmp_path, items)
    assert packed(tmp_path) == [("a", b"1"), *((name, name.encode()) for name in names[1:])]


def test_as_many_files_at_a_time_as_allowed(server, tmp_path):
    for name in NAMES:
        put(server, name, delay=0.05)
    bring(server, tmp_path, parallel=3)
    assert server.peak == 3


def test_mirrors_and_further_urls_are_tried(server, tmp_path):
    urls = ["http://first.invalid/x/{name}?key=${UNSET}", "http://second.invalid/x/{name}"]
    fetch_batch(
        ITEMS[:2], urls, tmp_path / "c.tar", tmp_path / "missing.csv",
        mirror={"http://second.invalid": server.url},
    )  # fmt: skip
    assert packed(tmp_path) == list(FILES.items())[:2]


# What is missing


def test_dead_links_are_listed_and_asked_for_once(server, tmp_path):
    put(server, NAMES[3], status=404)
    put(server, NAMES[7], b"other")
    items = [Item(name, sha256=DIGESTS[name]) for name in NAMES]
    bring(server, tmp_path, items, max_missing=0.1)
    assert list(missing(tmp_path)) == [NAMES[3], NAMES[7]]
    assert missing(tmp_path)[NAMES[3]].endswith("b/take%201.wav".replace("b", "a") + ": HTTP 404 Not Found")
    assert "its sha256 is" in missing(tmp_path)[NAMES[7]]
    assert packed(tmp_path) == [(n, d) for n, d in FILES.items() if n not in (NAMES[3], NAMES[7])]
    assert len(server.requests) == 20
    assert only(tmp_path) == DONE


def test_what_failed_for_the_time_being_is_asked_for_once_more(server, tmp_path):
    put(server, NAMES[3], status=(503, 3))
    bring(server, tmp_path, retries=1, max_missing=0.05)
    assert missing(tmp_path) == {}
    assert packed(tmp_path) == list(FILES.items())


def test_too_many_misses_are_an_error_and_the_rest_waits(server, tmp_path):
    put(server, NAMES[3], status=404)
    put(server, NAMES[8], status=404)
    with pytest.raises(DownloadError) as error:
        bring(server, tmp_path, max_missing=0.05)
    message = str(error.value)
    assert message.startswith(
        "c.tar: given up after 2 of its 20 files could not be fetched; 1 may be missing"
    )
    for part in (f"{NAMES[3]}: ", f"{NAMES[8]}: ", "HTTP 404", "c.tar.files", "`download.max_missing`: 0.05"):
        assert part in message
    assert only(tmp_path) == ["c.tar.files"]
    put(server, NAMES[3])
    asked = len(server.requests)
    bring(server, tmp_path, max_missing=0.05)
    again = [path for path, _ in server.requests[asked:]]
    assert "x/b/take%204.wav" in again
    assert not set(again) & {path for path, _ in server.requests[:asked]} - {
        "x/b/take%204.wav",
        "x/a/take%201.wav",
    }
    assert list(missing(tmp_path)) == [NAMES[8]]
    assert only(tmp_path) == DONE


def test_the_share_that_may_be_missing_is_exact(server, tmp_path):
    items = [Item(f"{n}") for n in range(100)]
    for item in items:
        server.put(f"x/{item.name}", status=404 if int(item.name) < 29 else None)
    bring(server, tmp_path, items, max_missing=0.29)  # 0.29 * 100 is less than 29
    assert len(missing(tmp_path)) == 29


def test_an_error_names_ten_files(server, tmp_path):
    for name in NAMES:
        put(server, name, status=404)
    with pytest.raises(DownloadError) as error:
        bring(server, tmp_path, max_missing=0.6)
    assert str(error.value).count("HTTP 404") == 10
    assert "and 3 more" in str(error.value)


def test_a_dead_host_is_given_up_early(server, tmp_path):
    items = [Item(f"{n}") for n in range(3000)]
    for item in items[:100]:
        server.put(f"x/{item.name}", status=503)
    with pytest.raises(DownloadError, match="given up after 31 of its 3000") as error:
        bring(server, tmp_path, items, retries=4)
    # The first files are requested five times each, the others once.
    assert len(server.requests) < 200
    assert "HTTP 503" in str(error.value)


def test_an_unreachable_host_is_given_up(tmp_path, server):
    began = time.monotonic()
    with pytest.raises(DownloadError, match="ConnectionError"):
        fetch_batch(
            ITEMS,
            [f"http://127.0.0.1:{closed_port()}/{{name}}"],
            tmp_path / "c.tar",
            tmp_path / "missing.csv",
        )
    assert time.monotonic() - began < 30


def test_stalled_threads_are_not_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(collection, "GRACE", 0.1)
    for name in NAMES[1:]:
        put(server, name, delay=60)
    put(server, NAMES[0], status=404)
    began = time.monotonic()
    with pytest.raises(DownloadError, match="given up after 1 of"):
        bring(server, tmp_path)
    assert time.monotonic() - began < 30


# Interruptions

JOB = """
import sys
from audio_neurons.fetching.collection import Item, fetch_batch
url, folder, *names = sys.argv[1:]
fetch_batch([Item(n) for n in names], [url], folder + "/c.tar", folder + "/missing.csv", parallel=4)
"""


def begin(root, server, folder, names):
    return subprocess.Popen(
        [sys.executable, "-c", JOB, f"{server.url}/x/{{name}}", str(folder), *names],
        cwd=root, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_killed_batch_goes_on_where_it_was(server, tmp_path, root):
    large = os.urandom(2_000_000)
    server.put("x/large.wav", large, stall=60)
    names = [*NAMES[:10], "large.wav", *NAMES[10:]]
    with begin(root, server, tmp_path, names) as process:
        files = tmp_path / "c.tar.files"
        until(lambda: len([p for p in files.glob("*") if not p.suffix]) == 20)
        # All other files are complete, so no other .part disappears while it is inspected.
        until(lambda: any(p.stat().st_size > 500_000 for p in files.glob("*.part")))
        process.send_signal(signal.SIGKILL)
    assert only(tmp_path) == ["c.tar.files"]
    (files / "tar").write_bytes(b"of a process that was killed while it packed")
    bring(server, tmp_path, [Item(name) for name in names])
    ((path, span),) = server.requests[21:]
    assert path == "x/large.wav"
    assert int(span[6:-1]) > 500_000
    assert packed(tmp_path) == [(name, FILES.get(name, large)) for name in names]
    assert only(tmp_path) == DONE


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_process(server, tmp_path, root, how):
    for name in NAMES[4:]:
        put(server, name, delay=60)
    with begin(root, server, tmp_path, NAMES) as process:
        until(lambda: len(server.requests) == 8)
        began = time.monotonic()
        process.send_signal(how)
        process.wait(timeout=60)
    assert process.returncode == -how
    assert time.monotonic() - began < 30


def test_a_file_that_has_changed_meanwhile_is_fetched_anew(server, tmp_path):
    put(server, NAMES[5], status=404)
    with pytest.raises(DownloadError):
        bring(server, tmp_path)
    put(server, NAMES[5])
    put(server, NAMES[0], b"new")
    items = [Item(NAMES[0], 3, hashlib.sha256(b"new").hexdigest()), *ITEMS[1:]]
    bring(server, tmp_path, items)
    assert packed(tmp_path)[0] == (NAMES[0], b"new")
    assert server.count("x/b/take%200.wav") == 2


# Files brought by hand


def test_files_brought_by_hand_are_not_fetched(server, tmp_path):
    names = ["h.org/de/a.wav", "h.org/de/b.wav", *NAMES]
    one, two = tmp_path / "none", tmp_path / "hand"
    (two / "h.org/de").mkdir(parents=True)
    (two / "h.org/de/a.wav").write_bytes(b"by its whole name")
    (two / "b.wav").write_bytes(b"by its last part")
    (two / "take 0.wav").write_bytes(b"of which folder?")
    (two / "take 1.wav").mkdir()
    items = [Item(names[0], 17, hashlib.sha256(b"by its whole name").hexdigest()), *map(Item, names[1:])]
    bring(server, tmp_path, items, by_hand=[one, two])
    assert dict(packed(tmp_path)) == {names[0]: b"by its whole name", names[1]: b"by its last part", **FILES}
    assert len(server.requests) == 20
    assert (two / "b.wav").exists()


def test_a_wrong_file_brought_by_hand_is_an_error(server, tmp_path):
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand" / "take.wav").write_bytes(b"wrong")
    lock = Lock(tmp_path / "lock")
    lock.record({"a/take.wav": DIGESTS[NAMES[0]]})
    for item in (Item("a/take.wav", 4), Item("a/take.wav", sha256=DIGESTS[NAMES[0]]), Item("a/take.wav")):
        with pytest.raises(
            DownloadError, match=r"hand/take\.wav, brought by hand, is not the right file: its"
        ):
            bring(server, tmp_path, [item], by_hand=[tmp_path / "hand"], lock=lock)
    assert not server.requests


# Checksums of the first download


def test_the_first_download_is_recorded_and_holds_later_ones(server, tmp_path):
    known = Item(NAMES[0], sha256=DIGESTS[NAMES[0]])
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand" / "by hand.wav").write_bytes(b"by hand")
    put(server, NAMES[9], status=404)
    lock = tmp_path / "locks" / "c.sha256"
    items = [known, *ITEMS[1:], Item("by hand.wav")]
    bring(server, tmp_path, items, lock=Lock(lock), max_missing=0.05, by_hand=[tmp_path / "hand"])
    fetched = sorted(set(NAMES) - {NAMES[0], NAMES[9]})
    assert lock.read_text() == "".join(f"{DIGESTS[name]}  {name}\n" for name in fetched)

    put(server, NAMES[4], b"another take")
    put(server, NAMES[6], status=404)
    bring(server, tmp_path, lock=Lock(lock), max_missing=0.15)
    assert list(missing(tmp_path)) == [NAMES[4], NAMES[6], NAMES[9]]
    for part in ("its sha256 is", f"expected {DIGESTS[NAMES[4]]}", str(lock), "delete its line there"):
        assert part in missing(tmp_path)[NAMES[4]]
    assert "delete its line" not in missing(tmp_path)[NAMES[6]]
    assert Lock(lock).get(NAMES[4]) == DIGESTS[NAMES[4]]
    assert Lock(lock).get(NAMES[0]) == DIGESTS[NAMES[0]]  # not among the checksums known beforehand


def test_a_batch_that_fails_records_nothing(server, tmp_path):
    put(server, NAMES[9], status=404)
    with pytest.raises(DownloadError):
        bring(server, tmp_path, lock=Lock(tmp_path / "lock"))
    assert not (tmp_path / "lock").exists()


# Disk space


def test_a_batch_needs_room_twice(server, tmp_path, monkeypatch):
    class Usage:
        free = 2 * 5000 - 1

    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: Usage)
    items = [Item(f"f{n}", size=1000) for n in range(5)]
    with pytest.raises(DiskFull, match=r"c\.tar needs 0\.000 GB more"):
        bring(server, tmp_path, items)
    assert not server.requests


def test_a_full_disk_ends_the_batch(server, tmp_path, monkeypatch):
    class Usage:
        free = 2010

    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(DiskFull, match=r"c\.tar: the disk is full.*Make room and run again"):
        bring(server, tmp_path, max_missing=1)
    assert only(tmp_path) == ["c.tar.files"]


def test_threads_end_with_their_batch(server, tmp_path):
    before = set(threading.enumerate())
    bring(server, tmp_path)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert [name for name in left if "process_request" not in name] == []  # apart from the server's threads
