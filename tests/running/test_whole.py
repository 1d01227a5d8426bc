import os
import time

from audio_neurons.running.whole import Whole, watch


def record(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tcpu_time\n{seconds}\t0:00:01\t0.5\n")


def test_time_left_is_that_of_jobs_that_ended(tmp_path):
    files = {tmp_path / f"extract/{i}.tsv": "extract" for i in range(4)}
    files |= {tmp_path / f"draw/{i}.tsv": "draw" for i in range(2)}
    whole = Whole(files)
    assert whole.line(10) == (
        "whole run: 0 of 6 jobs in 10 s, about 0 s left without 6 jobs of kinds of which none has ended "
        "(extract, draw)"
    )
    record(tmp_path / "extract/0.tsv", 20)
    record(tmp_path / "extract/1.tsv", 40)
    # Three jobs' worth of 60 s in 30 s: two at a time, and two jobs of 30 s are left.
    assert (
        whole.line(30) == "whole run: 2 of 6 jobs in 30 s, about 30 s left "
        "without 2 jobs of kinds of which none has ended (draw)"
    )
    record(tmp_path / "draw/1.tsv", 4)
    assert whole.line(64) == "whole run: 3 of 6 jobs in 1 min 04 s, about 1 min 04 s left"


def test_records_of_an_earlier_run_and_halves_of_records_do_not_count(tmp_path):
    old, half = tmp_path / "draw/a.tsv", tmp_path / "draw/b.tsv"
    record(old, 100)
    whole = Whole({old: "draw", half: "draw"})
    half.write_text("s\th:m:s")
    assert whole.line(5).startswith("whole run: 0 of 2 jobs")
    record(old, 3)
    os.utime(old, ns=(1, 1))
    record(half, 5)
    assert whole.line(8) == "whole run: 2 of 2 jobs in 8 s, about 0 s left"


def test_it_is_told_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr("audio_neurons.running.whole.FIRST", 0.01)
    monkeypatch.setattr("audio_neurons.running.whole.INTERVAL", 0.01)
    lines = []
    watch({tmp_path / "draw/a.tsv": "draw"}, lines.append)
    end = time.monotonic() + 30
    while len(lines) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(lines) >= 3
    assert lines[0].startswith("whole run: 0 of 1 jobs in ")
