import re
import shutil
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from common import TINY

from audio_neurons import models, tables
from audio_neurons.activations import batching, decoding, recorder, statistics, units
from audio_neurons.activations.extraction import ExtractionError, Job, extract, extract_together
from audio_neurons.activations.transfers import Transfers
from audio_neurons.models.errors import ModelError
from audio_neurons.recordings import audio
from audio_neurons.running import runtime
from audio_neurons.settings.extraction import Pass

SETTINGS = Pass(clip_seconds=1.0, batch_size=4, top_clips=3, count="window")
SAMPLES = 16_000
NAMES = ("cells", "counts", "units", "top_clips")
OTHERS = {"shorter": {"input_size": [80, 32]}, "narrow": {"embed_dim": 8, "num_heads": 1}}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """20 clips of 0.2 to 1.8 s with two splits and two labels; rows are not ordered by name."""
    rng = np.random.default_rng(2)
    clips = 20
    waves = [rng.normal(0, 10 ** rng.uniform(-2.5, -1), rng.integers(3200, 28800)) for _ in range(clips)]
    waves[5] = waves[4]  # equal activations: ranked by name
    return pd.DataFrame(
        {
            "clip_id": [f"{n}.wav" for n in rng.permutation(clips)],
            "audio": [audio.encode(w) for w in waves],
            "frames": [len(w) for w in waves],
            "split": rng.choice(["train", "test"], clips),
            "fold": rng.integers(1, 3, clips),
            "group": rng.choice(["g1", "g2", "g3"], clips),
            "kind": rng.choice(["dog", "cat"], clips),
            "place": rng.choice(["in", "out"], clips),
        }
    )


def write_clips(path, frame, labels=("kind", "place")):
    with tables.writer(path, "clips", labels) as writer:
        for start in range(0, len(frame), 3):  # row groups of another size than batches
            part = frame.iloc[start : start + 3]
            writer.append({name: part[name].tolist() for name in frame.columns})
    return path


def run(encoder, folder, frame, settings=SETTINGS, responses=False):
    clips = write_clips(folder / "clips.parquet", frame)
    out = {name: folder / f"{name}.parquet" for name in ("embeddings", "responses")}
    extract(encoder, clips, folder, out["embeddings"], settings, out["responses"] if responses else None)
    return folder


def merge(folders, out):
    statistics.merge(folders, out, SETTINGS.top_clips)
    units.merge([f / "units.parquet" for f in folders], out / "units.parquet")


def merged(encoder, tmp_path, frame, shards, settings=SETTINGS):
    folders = [run(encoder, tmp_path / str(i), frame.iloc[i::shards], settings) for i in range(shards)]
    merge(folders, tmp_path / "out")
    found = {name: (tmp_path / "out" / f"{name}.parquet").read_bytes() for name in NAMES}
    embedded = pd.concat([tables.read(f / "embeddings.parquet", "embeddings") for f in folders])
    shutil.rmtree(tmp_path)
    return found, embedded.set_index("clip_id")["embedding"].to_dict()


def directly(encoder, hidden, frame, skip=1, samples=SAMPLES):
    """(clips, neurons) active tokens, (clips, D) embeddings, (clips, L, W) peaks and their tokens."""
    active, embeddings, peaks, tokens = [], [], [], []
    for flac in frame["audio"]:
        wave = torch.from_numpy(audio.read(flac, samples))[None]
        layers = torch.stack([torch.cat([c[0, skip:] for c in chunks]) for chunks in hidden(encoder, wave)])
        active.append((layers > 0).sum(1).flatten().numpy())
        peaks.append(layers.amax(1).numpy())
        tokens.append(layers.argmax(1).numpy())
        embeddings.append(encoder(wave).mean(1)[0].numpy())
    return np.stack(active), np.stack(embeddings), np.stack(peaks), np.stack(tokens)


@pytest.mark.parametrize("tokens", ["patch", "all"])
def test_tables_are_those_of_a_clip_by_clip_computation(encoder, hidden, tmp_path, frame, tokens):
    settings = SETTINGS.changed(tokens=tokens)
    per_clip = {"patch": 35, "all": 37}[tokens]  # 101 frames: 4 and 3 columns of 5 patches, 2 chunks
    folder = run(encoder, tmp_path, frame, settings, responses=True)
    active, embeddings, peaks, places = directly(encoder, hidden, frame, {"patch": 1, "all": 0}[tokens])

    cells = tables.read(folder / "cells.parquet", "cells")
    assert tables.labels_of("cells", cells.columns) == ["kind", "place"]
    counts, neurons = statistics.read_counts(folder / "counts.parquet")
    assert neurons.tolist() == [[layer, unit] for layer in range(2) for unit in range(64)]
    keys = ["split", "fold", "kind", "place"]
    expected = dict(frame.groupby(keys).indices)
    assert [tuple(row) for row in cells[keys].to_numpy()] == sorted(expected)
    for row, counted in zip(cells.itertuples(), counts, strict=True):
        clips = expected[row.split, row.fold, row.kind, row.place]
        assert (row.clips, row.tokens) == (len(clips), per_clip * len(clips))
        np.testing.assert_array_equal(counted, active[clips].sum(0))

    by_unit = tables.read(folder / "units.parquet", "units")
    expected = dict(frame.groupby([*keys, "group"]).indices)
    assert [tuple(row) for row in by_unit[[*keys, "group"]].to_numpy()] == sorted(expected)
    for row, clips in zip(by_unit.itertuples(), map(expected.get, sorted(expected)), strict=True):
        assert (row.clips, row.tokens) == (len(clips), per_clip * len(clips))
        np.testing.assert_array_equal(row.active, active[clips].sum(0))

    embedded = tables.read(folder / "embeddings.parquet", "embeddings")
    assert embedded["clip_id"].tolist() == frame["clip_id"].tolist()
    np.testing.assert_allclose(np.stack(embedded["embedding"]), embeddings, rtol=1e-4, atol=1e-5)

    responses = tables.read(folder / "responses.parquet", "responses")
    assert responses["clip_id"].tolist() == frame["clip_id"].tolist()
    assert (responses["tokens"] == per_clip).all()
    np.testing.assert_array_equal(np.stack(responses["active"]), active)
    np.testing.assert_array_equal(np.stack(responses["active"]).sum(0), counts.sum(0))

    top = tables.read(folder / "top_clips.parquet", "top_clips")
    assert len(top) == 2 * 64 * 3
    number = {name: i for i, name in enumerate(frame["clip_id"])}
    for (layer, neuron), mine in top.groupby(["layer", "neuron"]):
        assert mine["rank"].tolist() == [0, 1, 2]
        peak = peaks[:, layer, neuron]
        best = [number[name] for name in mine["clip_id"]]
        np.testing.assert_allclose(mine["activation"], np.sort(peak)[::-1][:3], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine["activation"], peak[best], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine["response"], active[best, layer * 64 + neuron] / per_clip, rtol=1e-6)
        if tokens == "patch":
            seconds = encoder.token_seconds(SAMPLES)[places[best, layer, neuron]]
            np.testing.assert_allclose(mine["seconds"], seconds)
        else:
            assert mine["seconds"].isna().all()


@pytest.mark.parametrize("shards", [3, 17])
def test_shards_do_not_matter(encoder, tmp_path, frame, shards):
    one, embedded = merged(encoder, tmp_path / "one", frame, 1)
    many, embedded_in_parts = merged(encoder, tmp_path / "many", frame, shards)
    assert many == one
    assert embedded.keys() == embedded_in_parts.keys()
    for name, vector in embedded.items():
        np.testing.assert_array_equal(embedded_in_parts[name], vector)


def test_the_order_of_clips_does_not_matter(encoder, tmp_path, frame):
    one, _ = merged(encoder, tmp_path / "one", frame, 1)
    assert merged(encoder, tmp_path / "two", frame.sample(frac=1, random_state=1), 2)[0] == one


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batch_size_does_not_change_counts(encoder, tmp_path, frame, size):
    folders = [
        run(encoder, tmp_path / str(n), frame, SETTINGS.changed(batch_size=n))
        for n in (SETTINGS.batch_size, size)
    ]
    for name in ("cells", "counts"):
        first, second = ((f / f"{name}.parquet").read_bytes() for f in folders)
        assert first == second


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_do_not_matter(encoder, tmp_path, frame, workers):
    def everything(workers):
        folder = tmp_path / str(workers)
        clips = write_clips(folder / "clips.parquet", frame)
        extract(encoder, clips, folder, folder / "e.parquet", SETTINGS, folder / "r.parquet", workers=workers)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert everything(workers) == everything(1)


def test_no_more_batches_are_decoded_ahead_than_there_are_workers(tmp_path, frame, monkeypatch):
    clips = write_clips(tmp_path / "clips.parquet", frame)
    asked, decode = [], decoding._decode
    monkeypatch.setattr(decoding, "_decode", lambda *a: (asked.append(a[1]["clip_id"]), decode(*a))[1])
    taken = 0
    for _, size in decoding.batches(clips, 160, 2, workers=3):
        taken += size
        assert taken <= 2 * len(asked) <= taken + 6
    assert [name for names in asked for name in names] == frame["clip_id"].tolist()


def test_models_of_one_job_write_what_each_writes_alone(encoder, tmp_path, frame, monkeypatch):
    """Each batch is decoded once for all of them, whatever else they write."""
    others = [models.load(name, {**TINY, **block}, None) for name, block in OTHERS.items()]
    clips = write_clips(tmp_path / "clips.parquet", frame)
    asked, decode = [], decoding._decode
    monkeypatch.setattr(decoding, "_decode", lambda *a: (asked.append(a[1]["clip_id"]), decode(*a))[1])

    def job(encoder, folder, sounds):
        more = [folder / f"{name}.parquet" for name in ("responses", "acoustics")] if sounds else []
        return Job(encoder, folder, folder / "embeddings.parquet", SETTINGS, *more)

    def written(place, together):
        jobs = [job(one, tmp_path / place / str(n), n > 0) for n, one in enumerate([encoder, *others])]
        for some in [jobs] if together else [[one] for one in jobs]:
            extract_together(some, clips, workers=2)
        files = sorted((tmp_path / place).rglob("*.parquet"))
        return {str(file.relative_to(tmp_path / place)): file.read_bytes() for file in files}

    alone = written("alone", False)
    assert len(asked) == 3 * 5
    assert len(alone) == 5 + 2 * 8
    assert written("together", True) == alone
    assert len(asked) == 4 * 5
    assert alone["0/units.parquet"] != alone["1/units.parquet"] != alone["2/units.parquet"]


def test_models_of_one_job_take_the_fewest_clips_per_pass_of_any_and_say_so(encoder, tmp_path, frame, capsys):
    clips = write_clips(tmp_path / "clips.parquet", frame)
    other = models.load("shorter", {**TINY, **OTHERS["shorter"]}, None)
    for sizes, told in (((4, 4), False), ((4, 3), True)):
        jobs = [
            Job(one, tmp_path / str(n), tmp_path / f"{n}.parquet", SETTINGS.changed(batch_size=size))
            for n, (one, size) in enumerate(zip([encoder, other], sizes, strict=True))
        ]
        extract_together(jobs, clips)
        assert ("3 clips per forward pass of all these models" in capsys.readouterr().err) == told


def test_models_that_hear_different_clips_are_refused_in_one_job(encoder, tmp_path, frame):
    clips = write_clips(tmp_path / "clips.parquet", frame)
    lengths = [SETTINGS, SETTINGS.changed(clip_seconds=0.5)]
    jobs = [Job(encoder, tmp_path / str(n), tmp_path / f"{n}.parquet", one) for n, one in enumerate(lengths)]
    with pytest.raises(ExtractionError, match="different clips"):
        extract_together(jobs, clips)


@pytest.mark.parametrize(("seconds", "tokens"), [(0.3, 11), (1.9, 21)])
def test_batches_by_themselves_have_as_many_tokens_as_suit_the_device(
    encoder, monkeypatch, capsys, seconds, tokens
):
    samples = round(seconds * 16_000)
    assert batching.sequence(encoder, samples) == tokens  # with CLS, of the longest chunk
    assert batching.clips_per_pass(encoder, 5, samples) == 5
    assert batching.clips_per_pass(encoder, "auto", samples) == 8
    assert capsys.readouterr().err == ""
    cuda = property(lambda _: torch.device("cuda"))
    monkeypatch.setattr(batching, "sequence", lambda *_: tokens)
    monkeypatch.setattr(type(encoder), "device", cuda)
    assert batching.clips_per_pass(encoder, "auto", samples) == 32_768 // tokens
    assert f"{32_768 // tokens} clips per forward pass" in capsys.readouterr().err
    assert batching.clips_per_pass(encoder, "auto", samples, share=12) == 32_768 // (12 * tokens)
    monkeypatch.setattr(batching, "sequence", lambda *_: 40_000)
    assert batching.clips_per_pass(encoder, "auto", samples) == 1


def test_looking_only_for_neurons_that_matter_gives_the_same(encoder, tmp_path, frame, monkeypatch):
    one, _ = merged(encoder, tmp_path / "one", frame, 1)
    monkeypatch.setattr(recorder, "SEARCHED", ())  # as on a GPU
    assert merged(encoder, tmp_path / "two", frame, 2)[0] == one


def test_progress_counts_clips(encoder, tmp_path, frame, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "INTERVAL", 0.0)
    run(encoder, tmp_path, frame)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"extract: 8/20 clips, \S+ clips/s, \d+ s left", lines[1])
    assert re.fullmatch(r"extract: 20 clips in \d+ s, \S+ clips/s", lines[-1])


def test_a_part_without_clips_adds_nothing(encoder, tmp_path, frame):
    folders = [run(encoder, tmp_path / "a", frame), run(encoder, tmp_path / "b", frame.iloc[:0])]
    merge(folders[:1], tmp_path / "alone")
    merge(folders[::-1], tmp_path / "both")
    for name in NAMES:
        assert (tmp_path / "both" / f"{name}.parquet").read_bytes() == (
            tmp_path / "alone" / f"{name}.parquet"
        ).read_bytes()


def test_batches_pad_short_clips_and_crop_long_ones(tmp_path):
    waves = [np.full(n, 0.5) for n in (100, 160, 300, 1)]
    frame = pd.DataFrame(
        {"clip_id": list("abcd"), "audio": [audio.encode(w) for w in waves], "frames": 1, "split": "train"}
    ).assign(fold=0, group="g", kind="x")
    clips = write_clips(tmp_path / "c.parquet", frame, ["kind"])
    found = [(wave.numpy(), n) for wave, n in decoding.batches(clips, 160, 3)]
    assert [n for _, n in found] == [3, 1]
    assert all(wave.shape == (3, 160) and wave.dtype == np.float32 for wave, _ in found)
    assert [int((row == 0.5).sum()) for wave, _ in found for row in wave] == [100, 160, 160, 1, 0, 0]
    assert found[0][0][0, :100].all()
    assert not found[0][0][0, 100:].any()


def test_batches_of_integers_are_the_same_samples_and_finer_ones_stay_floats(tmp_path):
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, scale, 150).astype(np.float32) for scale in (0.1, 0.3, 0.1, 1e-4, 0.2)]
    frame = pd.DataFrame({"clip_id": list("abcde"), "audio": [audio.encode(w) for w in waves], "frames": 1})
    frame = frame.assign(split="train", fold=0, group="g", kind="x")
    clips = write_clips(tmp_path / "c.parquet", frame, ["kind"])
    plain = list(decoding.batches(clips, 160, 2))
    found = list(decoding.batches(clips, 160, 2, integers=True))
    assert [wave.dtype for wave, _ in found] == [torch.int16, torch.float32, torch.int16]
    copies = Transfers(torch.device("cpu"))
    for (wave, size), (samples, expected) in zip(found, plain, strict=True):
        assert size == expected
        assert torch.equal(copies.to_device(wave), samples)


def test_the_thread_that_drives_the_encoder_does_not_read_tables(tmp_path, frame, monkeypatch):
    clips = write_clips(tmp_path / "clips.parquet", frame)
    readers, blocks = set(), tables.blocks

    def watched(*given):
        for block in blocks(*given):
            readers.add(threading.get_ident())
            yield block

    monkeypatch.setattr(tables, "blocks", watched)
    assert sum(size for _, size in decoding.batches(clips, 160, 2, workers=2)) == len(frame)
    assert len(readers) == 1
    assert threading.get_ident() not in readers


def test_damage_further_on_in_a_table_is_told_after_what_is_before_it(tmp_path, frame, monkeypatch):
    clips = write_clips(tmp_path / "clips.parquet", frame)

    def damaged(*given):
        yield next(blocks(*given))
        raise tables.TableError("damaged")

    blocks = tables.blocks
    monkeypatch.setattr(tables, "blocks", damaged)
    found = decoding.batches(clips, 160, 2, workers=3)
    assert next(found)[1] == 2
    with pytest.raises(tables.TableError, match="damaged"):
        next(found)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_features_that_are_not_finite_name_their_clips(encoder, tmp_path, frame, batch_size):
    encoder.vit.blocks[1].mlp.fc2.weight[0, 0] = torch.nan
    first = ", ".join(frame["clip_id"][:batch_size])
    with pytest.raises(ExtractionError, match=f"NaN or infinity for {first} in .*clips.parquet"):
        run(encoder, tmp_path, frame, SETTINGS.changed(batch_size=batch_size))
    assert [p.name for p in tmp_path.iterdir()] == ["clips.parquet"]


def test_fewer_clips_than_are_kept(encoder, tmp_path, frame):
    folder = run(encoder, tmp_path, frame.iloc[:2], SETTINGS.changed(top_clips=5))
    top = tables.read(folder / "top_clips.parquet", "top_clips")
    assert len(top) == 2 * 64 * 2
    assert set(top["rank"]) == {0, 1}


def test_threshold(encoder, tmp_path, frame):
    def active(threshold):
        folder = run(encoder, tmp_path / str(threshold), frame, SETTINGS.changed(threshold=threshold))
        return statistics.read_counts(folder / "counts.parquet")[0]

    assert (active(0.1) <= active(0.0)).all()
    assert not active(1e9).any()
    assert (active(-1e9).sum(0) == 20 * 35).all()


@pytest.mark.parametrize("pool", ["recording", "window"])
@pytest.mark.parametrize("tokens", ["patch", "all"])
def test_tables_count_the_recording_alone(encoder, hidden, tmp_path, frame, tokens, pool):
    settings = SETTINGS.changed(count="recording", tokens=tokens, pool=pool)
    folder = run(encoder, tmp_path, frame, settings, responses=True)
    skip = 1 if tokens == "patch" else 0
    sums, total, padding, means = [], [], [], {}
    for flac, frames, name in zip(frame["audio"], frame["frames"], frame["clip_id"], strict=True):
        wave = torch.from_numpy(audio.read(flac, SAMPLES))[None]
        # 101 frames of 10 ms: 4 and 3 columns of 16 frames, each of 5 patches in order of frequency.
        columns = [torch.arange(4), torch.arange(4, 7)]
        heard = [(c * 16 * 160 < frames).repeat(5) for c in columns]
        padding.append(sum(int((~one).sum()) for one in heard))
        if not skip:
            heard = [torch.cat([torch.tensor([True]), one]) for one in heard]
        layers = torch.stack(
            [torch.cat([c[0, skip:][h] for c, h in zip(chunks, heard, strict=True)])
             for chunks in hidden(encoder, wave)]
        )  # fmt: skip
        sums.append((layers > 0).sum(1).flatten().numpy())
        total.append(layers.shape[1])
        kept = torch.cat(columns) * 16 * 160 < (frames if pool == "recording" else SAMPLES)
        means[name] = encoder(wave)[0][kept].mean(0).numpy()
    assert len(set(total)) > 1
    responses = tables.read(folder / "responses.parquet", "responses")
    assert responses["tokens"].tolist() == total
    np.testing.assert_array_equal(np.stack(responses["active"]), sums)
    cells = tables.read(folder / "cells.parquet", "cells")
    by_cell = frame.assign(tokens=total, padded=padding).groupby(["split", "fold", "kind", "place"])
    for name in ("tokens", "padded"):
        assert cells[name].tolist() == by_cell[name].sum().tolist()
    assert (cells["window"] == 35 * cells["clips"]).all()
    embeddings = tables.read(folder / "embeddings.parquet", "embeddings")
    for name, found in zip(embeddings["clip_id"], embeddings["embedding"], strict=True):
        np.testing.assert_allclose(found, means[name], rtol=1e-4, atol=1e-5)
    top = tables.read(folder / "top_clips.parquet", "top_clips")
    lengths = frame.set_index("clip_id")["frames"]
    if tokens == "patch":
        assert (top["seconds"] * 16_000 < top["clip_id"].map(lengths)).all()
    share = top.assign(tokens=top["clip_id"].map(dict(zip(frame["clip_id"], total, strict=True))))
    active = dict(zip(frame["clip_id"], sums, strict=True))
    row = share.iloc[7]
    expected = active[row["clip_id"]][row["layer"] * encoder.width + row["neuron"]] / row["tokens"]
    assert row["response"] == pytest.approx(expected)


def test_any_division_gives_the_same_bytes_where_recordings_alone_count(encoder, tmp_path, frame):
    settings = SETTINGS.changed(count="recording", pool="recording")
    one, mean = merged(encoder, tmp_path / "a", frame, 1, settings)
    other, means = merged(encoder, tmp_path / "b", frame, 3, settings)
    assert one == other
    assert all((mean[name] == means[name]).all() for name in mean)


def test_a_share_of_clips_counts_clips_in_which_a_neuron_is_ever_active(encoder, hidden, tmp_path, frame):
    folder = run(encoder, tmp_path, frame, SETTINGS.changed(share="clips"), responses=True)
    active, *_ = directly(encoder, hidden, frame)
    assert 0 < (active == 0).mean() < 1
    cells = tables.read(folder / "cells.parquet", "cells")
    assert (cells["tokens"] == cells["clips"]).all()
    counts = tables.read(folder / "counts.parquet", "counts")
    for cell in cells.itertuples():
        inside = (frame["split"] == cell.split) & (frame["fold"] == cell.fold)
        inside &= (frame["kind"] == cell.kind) & (frame["place"] == cell.place)
        ours = counts.loc[counts["cell"] == cell.cell, "active"].to_numpy()
        np.testing.assert_array_equal(ours, (active[inside.to_numpy()] > 0).sum(0))
    units_of = tables.read(folder / "units.parquet", "units")
    assert (units_of["tokens"] == units_of["clips"]).all()
    assert (tables.read(folder / "responses.parquet", "responses")["tokens"] == 1).all()
    usual = run(encoder, tmp_path / "tokens", frame)
    top = (tables.read(path / "top_clips.parquet", "top_clips") for path in (folder, usual))
    pd.testing.assert_frame_equal(*top)


def test_absolute_activity(encoder, tmp_path, frame):
    def active(**how):
        folder = run(encoder, tmp_path / str(how), frame, SETTINGS.changed(threshold=0.01, **how))
        return statistics.read_counts(folder / "counts.parquet")[0]

    assert (active(activity="absolute") >= active()).all()
    assert (active(activity="absolute") > active()).any()


def test_a_compiler_that_fails_is_named(encoder, monkeypatch, tmp_path, frame):
    def broken(graph, inputs):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    torch.compiler.reset()
    with pytest.raises(
        ModelError, match=r"torch\.compile does not work here .*set extraction.compile to false"
    ):
        run(encoder, tmp_path, frame, SETTINGS.changed(compile=True))
    assert "encode" not in vars(encoder)


def test_damaged_clip_is_named_with_its_table(tmp_path):
    row = {"clip_id": ["a/b.wav"], "audio": [b"no flac"], "frames": [1], "split": ["train"], "fold": [0]}
    with tables.writer(tmp_path / "clips.parquet", "clips") as writer:
        writer.append(row | {"group": ["g"]})
    with pytest.raises(ExtractionError, match=r"clips\.parquet: clip a/b\.wav: .*run the workflow again"):
        list(decoding.batches(tmp_path / "clips.parquet", 100, 2))


# Precision and compilation


def counts(folder):
    return statistics.read_counts(folder / "counts.parquet")[0]


def test_bfloat16_changes_few_decisions_and_nothing_afterwards(encoder, tmp_path, frame):
    exact = counts(run(encoder, tmp_path / "fp32", frame))
    low = counts(run(encoder, tmp_path / "bf16", frame, SETTINGS.changed(precision="bf16")))
    assert (low != exact).any()
    assert np.abs(low - exact).sum() < 0.05 * exact.sum()
    again = counts(run(encoder, tmp_path / "again", frame))
    assert (again == exact).all()
    assert not encoder.bfloat16
    assert torch.get_float32_matmul_precision() == "highest"


def test_tf32_is_the_same_where_there_is_no_gpu(encoder, tmp_path, frame):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    exact = counts(run(encoder, tmp_path / "fp32", frame))
    tf32 = counts(run(encoder, tmp_path / "tf32", frame, SETTINGS.changed(precision="tf32")))
    assert (tf32 == exact).all()


def test_a_compiled_encoder_counts_the_same(encoder, tmp_path, frame, monkeypatch):
    # Tracing is real, but the traced graph runs uncompiled, since compiling takes a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    exact = counts(run(encoder, tmp_path / "plain", frame))
    compiled = counts(run(encoder, tmp_path / "compiled", frame, SETTINGS.changed(compile=True)))
    assert exact.shape == compiled.shape
    assert np.abs(compiled - exact).sum() <= 1e-3 * exact.sum()  # the order of sums may differ
    assert "encode" not in vars(encoder)
