import io
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from test_extraction import SETTINGS, frame, merge, run  # noqa: F401

from audio_neurons import tables
from audio_neurons.activations import examples
from audio_neurons.recordings import audio, excerpts
from audio_neurons.settings.atlas import Examples

DRAWN = Examples(clips=12, seed=3)
COLUMNS = ["layer", "neuron", "class", "response", "entropy", "selected", "eligible", "assigned"]


def assigning(path, pairs):
    """A ``neurons`` table of 2 x 64 neurons that assigns (layer, unit, class) of ``pairs``."""
    every = [(layer, unit, name) for name in ("cat", "dog") for layer in range(2) for unit in range(64)]
    rows = [(*one, 0.1, 1.0, one in pairs, True, one in pairs) for one in every]
    tables.write(path, "neurons", pd.DataFrame(rows, columns=COLUMNS))
    return path


def found(encoder, tmp_path, frame, shards, settings=SETTINGS, drawn=DRAWN):  # noqa: F811
    folders = [run(encoder, tmp_path / str(i), frame.iloc[i::shards], settings) for i in range(shards)]
    (tmp_path / "out").mkdir()
    merge(folders, tmp_path / "out")
    parts = [folder / "clips.parquet" for folder in folders]
    neurons = assigning(tmp_path / "neurons.parquet", {(0, 3, "dog"), (1, 9, "cat"), (1, 9, "dog")})
    outs = [tmp_path / "examples.parquet", tmp_path / "excited.parquet"]
    strongest = tmp_path / "out" / "top_clips.parquet"
    examples.find(encoder, parts, strongest, [("kind", neurons)], settings, drawn, *outs)
    return outs, parts


@pytest.mark.parametrize("count", ["window", "recording"])
def test_examples_do_not_depend_on_shards(encoder, tmp_path, frame, count):  # noqa: F811
    settings = SETTINGS.changed(count=count)
    made = []
    for shards in (1, 3):
        folder = tmp_path / str(shards)
        folder.mkdir()
        outs, parts = found(encoder, folder, frame, shards, settings)
        heard = [folder / "excerpts.parquet", folder / "shown.parquet"]
        excerpts.cut(parts, outs[:1], settings.clip_seconds, 16_000, count == "window", 50, ["kind"], *heard)
        made.append([path.read_bytes() for path in [*outs, *heard]])
        shutil.rmtree(folder)
    assert made[0] == made[1]


def test_random_clips_are_those_of_the_smallest_hashes_on_which_a_neuron_is_active(
    encoder, hidden, tmp_path, frame  # noqa: F811
):  # fmt: skip
    (path, _), _ = found(encoder, tmp_path, frame, 1)
    table = tables.read(path, "examples")
    names = examples.draw(frame["clip_id"].tolist(), DRAWN.clips, DRAWN.seed)
    assert len(names) == 12
    assert names != sorted(names)
    flacs = frame.set_index("clip_id")["audio"]
    level = {}
    for name in frame["clip_id"]:
        wave = torch.from_numpy(audio.read(flacs[name], 16_000))[None]
        level[name] = torch.stack([torch.cat([c[0, 1:] for c in chunks]) for chunks in hidden(encoder, wave)])
    of = dict(list(table.groupby(["layer", "neuron"])))
    assert len(of) == 128
    for (layer, unit), rows in of.items():
        peaks = {name: float(level[name][layer, :, unit].max()) for name in frame["clip_id"]}
        active = [name for name in names if peaks[name] > 0]
        by = {sample: own["clip_id"].tolist() for sample, own in rows.groupby("sample")}
        assert by.get("random", []) == active[: examples.RANDOM]
        assert set(rows["active_clips"]) == {len(active)}
        assert set(rows["drawn_clips"]) == {12}
        np.testing.assert_allclose(rows["activation"], rows["clip_id"].map(peaks), rtol=1e-4, atol=1e-6)
        responses = [float((level[name][layer, :, unit] > 0).float().mean()) for name in rows["clip_id"]]
        np.testing.assert_allclose(rows["response"], responses, atol=1e-6)
        assert not set(by.get("random", [])) & {clip for band in examples.BANDS for clip in by.get(band, [])}
        top = [peaks[name] for name in by["strongest"]]
        assert top == sorted(top, reverse=True)
        assert len(top) == 3
        assert top[0] == pytest.approx(max(peaks.values()))


def test_bands_are_shares_of_the_clips_on_which_a_neuron_is_active():
    rng = np.random.default_rng(0)
    peak = rng.normal(0.3, 1, (40, 30)).astype(np.float32)
    active = peak > 0
    picks = {one.sample: one for one in examples.sampled(peak, active)}
    low = 0.0
    for band, high in examples.BANDS.items():
        own = picks[band]
        assert len(own.clip)
        for clip, neuron in zip(own.clip, own.neuron, strict=True):
            assert active[clip, neuron]
            weaker = (peak[active[:, neuron], neuron] < peak[clip, neuron]).mean()
            assert low - 0.03 <= weaker < high
        low = high
    for neuron in range(30):
        shown = np.concatenate([one.clip[one.neuron == neuron] for one in picks.values()])
        assert len(set(shown)) == len(shown) <= active[:, neuron].sum()


def test_only_neurons_of_a_class_have_traces_whose_highest_step_is_at_the_peak(
    encoder, tmp_path, frame  # noqa: F811
):  # fmt: skip
    (path, _), _ = found(encoder, tmp_path, frame, 1)
    table = tables.read(path, "examples")
    traced = table[table["step"] > 0]
    assert set(zip(traced["layer"], traced["neuron"], strict=True)) == {(0, 3), (1, 9)}
    assert (table["trace"].map(len) > 0).sum() == len(traced) > 20
    for row in traced[traced["activation"] > 0].itertuples():
        peak = row.trace.max() / examples.FULL * row.scale
        assert peak == pytest.approx(row.activation, abs=row.scale / 200)
        assert row.trace[int(row.seconds / row.step + 1e-6)] == row.trace.max()
    others = traced[traced["sample"] == "other"]
    kinds = frame.set_index("clip_id")["kind"]
    of_dogs = others[others["neuron"] == 3]
    assert len(of_dogs)
    assert set(kinds[of_dogs["clip_id"]]) == {"cat"}
    assert others[others["neuron"] == 9].empty  # it is of both classes


def test_a_clip_excites_the_neurons_whose_peaks_are_furthest_above_their_means():
    peak = np.zeros((5, 3))
    peak[2, 1], peak[4, 1], peak[4, 2] = 10, 6, 1
    clip, neuron, score = examples.excited(peak)
    assert list(zip(clip, neuron, strict=True)) == [(2, 1), (4, 2), (4, 1)]
    assert score[1] == pytest.approx(0.8 / 0.4)


def test_excerpts_hold_the_peak_and_are_stored_once(encoder, tmp_path, frame):  # noqa: F811
    settings = SETTINGS.changed(clip_seconds=1.7)
    (path, _), parts = found(encoder, tmp_path, frame, 1, settings)
    out = tmp_path / "excerpts.parquet"
    excerpts.cut(parts, [path, path], 1.7, 16_000, True, 5, ["kind"], out, tmp_path / "shown.parquet")
    cut = tables.read(out, "excerpts")
    assert len(cut) == 5
    assert not cut.duplicated(["clip_id", "excerpt"]).any()
    flacs = frame.set_index("clip_id")["audio"]
    for row in cut.itertuples():
        assert row.spectrogram.startswith(b"\x89PNG")
        heard, rate = soundfile.read(io.BytesIO(row.sound), dtype="float32")
        own = audio.read(flacs[row.clip_id], round(row.seconds * rate))
        assert rate == 16_000
        assert len(heard) == len(own) == row.seconds * rate
        assert np.corrcoef(heard, own)[0, 1] > 0.5  # of noise, which MP3 does not keep
    shown = tables.read(tmp_path / "shown.parquet", "shown")
    assert set(shown["clip_id"]) == set(tables.read(path, "examples")["clip_id"])
    assert shown["kind"].tolist() == frame.set_index("clip_id")["kind"][shown["clip_id"]].tolist()


def test_the_excerpt_of_a_peak_has_it_inside():
    lengths = np.array([1.0, 4.0, 5.0, 30.0])
    for length in lengths:
        for moment in np.linspace(0, length - 0.01, 50):
            number = excerpts.number_of(np.array([moment]), np.array([length]))
            start = excerpts.start_of(number, np.array([length]))[0]
            assert start <= moment <= min(start + excerpts.SECONDS, length)
    assert excerpts.windows(lengths).tolist() == [1, 1, 2, 14]
    assert excerpts.number_of(np.array([np.nan]), np.array([30.0]))[0] == 0
