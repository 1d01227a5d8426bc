"""`python -m audio_neurons check` on real files."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import yaml
from common import ROOT, TINY
from upstream import esc50, sound, tone

from audio_neurons.__main__ import main


def write(folder, rows, config=None, **changes):
    """Write a list, recordings that it names, and a configuration; return the configuration's path."""
    lines = ["path,kind,group,split", *(",".join(row) for row in rows)]
    (folder / "own.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, (name, *_) in enumerate(rows):
        if not (folder / name).exists():
            (folder / name).write_bytes(sound(tone(200 + 30 * number, 1.0)))
    made = {
        "datasets": {"own": {"files": "own.csv", "clip_seconds": 1.0}},
        "tasks": {"own": {"dataset": "own", "label": "kind"}},
        "models": {"tiny": {"kind": "random", **TINY}},
        "comparisons": {"own": {"tasks": ["own"]}},
        **(config or {}),
        **changes,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    return path


ROWS = [
    (f"{kind}{number}.wav", kind, f"g{number}", "train" if number < 4 else "test")
    for kind in ("owl", "wren")
    for number in range(6)
]


def check(folder, *more):
    return main(["check", str(folder / "study.yaml"), "--directory", str(folder), *more])


def test_a_good_study_passes(tmp_path, capsys):
    write(tmp_path, ROWS)
    assert check(tmp_path) == 0
    out = capsys.readouterr().out
    assert "own (own.csv)" in out
    assert "12 recordings, 6 groups, 12 s" in out
    assert "Nothing stops a run, and nothing was found that endangers its results." in out
    assert (tmp_path / "resources/facts/own.parquet").is_file()
    assert not (tmp_path / "results").exists()


def test_warnings_do_not_change_the_status(tmp_path, capsys):
    write(tmp_path, [*ROWS, ("copy.wav", "owl", "g0", "test")])
    (tmp_path / "copy.wav").write_bytes((tmp_path / "owl0.wav").read_bytes())
    assert check(tmp_path) == 0
    out = capsys.readouterr().out
    assert "warning: 2 recordings hold the same sound in different splits" in out
    assert "warning: 1 of 6 groups stands in several splits" in out
    assert "Nothing stops a run. 2 warnings say what endangers its results." in out


def test_unusable_recordings_stop_a_run_as_preparation_would(tmp_path, capsys):
    write(tmp_path, ROWS)
    (tmp_path / "owl0.wav").unlink()
    (tmp_path / "owl1.wav").write_bytes(sound(np.zeros(16_000)))
    assert check(tmp_path) == 1
    out = capsys.readouterr().out
    assert "error: 2 of 12 recordings cannot be used: " in out
    assert "cannot be used: missing (1); silent (1)." in out
    assert "silent (1)" in out
    assert "1 problem stops a run." in out
    write(tmp_path, ROWS[2:], preparation={"max_rejected": 0.5})
    assert check(tmp_path) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("path,kind\na.wav,owl,x\n", "own.csv: line 2 has 3 values"),
        ("path,kind\na.wav,owl\n", "no label has two classes"),
        ("path,kind,split\na.wav,owl,trian\nb.wav,wren,train\n", "split 'trian' is not one of"),
    ],
)
def test_a_list_that_cannot_be_read_stops_a_run(tmp_path, capsys, content, told):
    write(tmp_path, ROWS)
    (tmp_path / "own.csv").write_text(content, encoding="utf-8")
    assert check(tmp_path) == 1
    captured = capsys.readouterr()
    assert told in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_an_invalid_configuration_stops_a_run(tmp_path, capsys):
    write(tmp_path, ROWS, tasks={"own": {"dataset": "own", "label": "knid"}})
    assert check(tmp_path) == 1
    assert "tasks.own.label: no label of own 'knid'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.yaml"], "none.yaml: No such file or directory"),
        (["broken.yaml"], "broken.yaml: "),
        (["study.yaml", "--directory", "nowhere"], "--directory nowhere: no such folder"),
        (["study.yaml", "--html", "study.yaml"], "--html study.yaml: the name of a page ends in .html"),
        (["study.yaml", "--workers", "0"], "--workers 0: at least 1"),
    ],
)
def test_wrong_arguments_are_told(tmp_path, capsys, monkeypatch, arguments, told):
    write(tmp_path, ROWS)
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["check", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {told}")
    assert "Traceback" not in err


def test_a_configuration_without_content_is_told(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text("", encoding="utf-8")
    assert check(tmp_path) == 1
    assert "the configuration is not valid" in capsys.readouterr().err


def test_the_page_is_written_where_it_is_asked_for(tmp_path, capsys, monkeypatch):
    study = tmp_path / "study"
    study.mkdir()
    write(study, ROWS)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "study/study.yaml", "--directory", "study", "--html", "pages/own.html"]) == 0
    html = (tmp_path / "pages/own.html").read_text(encoding="utf-8")
    assert "Recordings of study.yaml" in html
    assert f"Page: {tmp_path / 'pages/own.html'}" in capsys.readouterr().out


def test_a_second_check_reads_only_what_has_changed(tmp_path, capsys, monkeypatch):
    from audio_neurons.recordings import facts

    write(tmp_path, ROWS)
    check(tmp_path)
    read = []
    real = facts.measure
    monkeypatch.setattr(
        facts, "measure", lambda one, *rest: read.append(one.recording.data.name) or real(one, *rest)
    )
    first = capsys.readouterr().out
    assert check(tmp_path) == 0
    assert (capsys.readouterr().out, read) == (first, [])
    (tmp_path / "owl3.wav").write_bytes(sound(tone(900, 1.0)))
    check(tmp_path)
    assert read == ["owl3.wav"]


ESC50 = {
    "datasets": {
        "own": {"files": "own.csv", "clip_seconds": 1.0},
        "esc50": {"options": {"verify_members": False}},
        "gtzan": {},
        "voxceleb1": {},
    },
    "tasks": {
        "own": {"dataset": "own", "label": "kind"},
        "events": {"dataset": "esc50", "label": "category"},
        "genre": {"dataset": "gtzan", "label": "genre"},
        "gender": {"dataset": "voxceleb1", "label": "gender"},
    },
}


def test_archives_are_checked_where_they_are_and_others_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VOXCELEB_KEY", raising=False)
    write(tmp_path, ROWS, ESC50)
    assert check(tmp_path) == 0
    out = capsys.readouterr().out
    assert out.count("not checked: not fetched yet; the run does it") == 2
    assert "must be fetched by you" in out
    by_hand = tmp_path / "resources/by_hand/esc50"  # where a person puts it; the run would link it
    by_hand.mkdir(parents=True)
    esc50(by_hand / "ESC-50-master.zip")
    assert check(tmp_path) in (0, 1)
    out = capsys.readouterr().out
    assert out.count("not checked: not fetched yet; the run does it") == 1
    assert "esc50 (resources/archives/esc50/)\n  recordings " in out
    assert "category" in out


def test_recordings_that_a_run_makes_are_named(tmp_path, capsys):
    assert main(["check", str(ROOT / "config/demo.yaml"), "--directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("not checked: the run makes these recordings") == 8


def test_commands_help(capsys):
    done = subprocess.run(
        [sys.executable, "-m", "audio_neurons", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "study" in done.stdout.lower()
    for word in ("check", "init"):
        with pytest.raises(SystemExit, match=r"^0$"):
            main([word, "--help"])
        assert "study" in capsys.readouterr().out.lower()
