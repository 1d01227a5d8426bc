"""Atomic writes: files are complete or absent, and temporary files of killed writers are removed."""

import os
import signal
import subprocess
import sys

import pytest

from audio_neurons.running.files import atomic, reserve

WRITER = """
import sys, time
from audio_neurons.running.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def begun(root, path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=root, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    return process


def test_what_a_killed_writer_left_is_removed_by_the_next_and_what_another_writes_is_not(tmp_path, root):
    path = tmp_path / "part [0].parquet"
    bystanders = [
        tmp_path / name for name in (".part [1].abcdefgh.parquet", ".part [0].parquet", "x.parquet")
    ]
    for file in bystanders:
        file.write_bytes(b"of others")
    with begun(root, path) as killed, begun(root, path) as alive:
        assert len(os.listdir(tmp_path)) == 5
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with atomic(path) as temporary:
            temporary.write_bytes(b"whole")
            assert len(os.listdir(tmp_path)) == 5  # 3 bystanders, 2 live writers
        assert path.read_bytes() == b"whole"
        alive.kill()
    with atomic(path) as temporary:
        temporary.write_bytes(b"again")
    assert sorted(tmp_path.iterdir()) == sorted([*bystanders, path])


def test_room_is_reserved_or_refused(tmp_path):
    with open(tmp_path / "f", "w+b") as file:
        reserve(file, 1 << 20)
        assert os.stat(file.name).st_blocks * 512 >= 1 << 20
    if os.path.exists("/dev/full"):
        with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(OSError, match=r"\[Errno \d+\]"):
            reserve(full, 1 << 20)
