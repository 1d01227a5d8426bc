"""Own recordings in a folder per class: sound is told by name or content, other files are counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from audio_neurons.datasets import opening
from audio_neurons.datasets.registry import DatasetError, Recording

# Files of these names are recordings whatever they hold: those that cannot be read are rejected, with the
# reason, rather than passed over. Others are looked into.
SOUNDS = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".rf64"),
    *(".snd", ".sph", ".w64", ".wav", ".wave"),
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".m4a", ".mp4", ".webm", ".wma", ".wv"),
)
# What systems leave in folders; hidden folders and files, among them those of macOS, are skipped too.
LITTER = ("__macosx", "@eadir", "$recycle.bin", "lost+found", "system volume information")
SPLIT_OF_FOLDER = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip


def recordings(
    folder: Path, say: Callable[[str], None], of_classes: bool = True
) -> Iterator[tuple[Path, Recording]]:
    """Yield the sound files of ``<class>/**`` or ``<split>/<class>/**``; ``group`` is empty.

    If the folders are not ``of_classes``, files may lie anywhere, and have no label.

    Raises
    ------
    DatasetError
        If there is no sound, a class folder has none, or the folders have another form.
    """
    found: dict[str, Path] = {}
    passed: dict[str, Counter[str]] = defaultdict(Counter)  # kinds of other files, by folder
    for file, is_sound in _files(folder):
        name = _name(file, folder)
        if is_sound:
            found[name] = file
        else:
            passed[name.rpartition("/")[0]][file.suffix.lower() or "no suffix"] += 1
    every = sum(passed.values(), Counter())
    if not found:
        there = f"; there are files of other kinds: {_told(every)}" if every else ""
        raise DatasetError(f"{folder}: holds no sound in a folder per class{there}")
    if not of_classes:
        for name in sorted(found):
            yield found[name], Recording(clip_id=name, data=b"", split="", group="", labels={})
        return
    tops = sorted({name.partition("/")[0] for name in found if "/" in name})
    splits = [top for top in tops if top.lower() in SPLIT_OF_FOLDER]
    if len(splits) > 1 and splits != tops:
        others = ", ".join(top for top in tops if top not in splits)
        raise DatasetError(
            f"{folder}: {', '.join(splits)} look like splits, but there is {others} too; keep only split "
            "folders or only class folders, or list the files in a CSV"
        )
    layout = "<split>/<class>/<file>" if splits == tops else "<class>/<file>"
    _refuse_unused(folder, layout.count("/"), splits if splits == tops else None, found, passed)
    for name in sorted(found):
        parts = name.split("/")
        if len(parts) <= layout.count("/"):
            raise DatasetError(f"{folder}: {name}: looked for {layout}; move it into its class's folder")
        split = SPLIT_OF_FOLDER[parts.pop(0).lower()] if splits == tops else ""
        yield found[name], Recording(
            clip_id=name, data=b"", split=split, group="", labels={"class": parts[0]}
        )  # fmt: skip
    if every:
        say(f"{folder}: {every.total()} files hold no sound and are passed over: {_told(every)}")


def _refuse_unused(
    folder: Path,
    depth: int,
    splits: list[str] | None,
    found: Collection[str],
    passed: Mapping[str, Counter[str]],
) -> None:
    """Raise if a class folder has no sound."""
    used = {tuple(name.split("/")[:depth]) for name in found}
    above = [folder] if splits is None else [folder / split for split in splits]
    for classes in above:
        for one in sorted(filter(Path.is_dir, classes.iterdir())):
            name = one.relative_to(folder).as_posix()
            if _skipped(one) or tuple(name.split("/")) in used:
                continue
            inside = [count for where, count in passed.items() if f"{where}/".startswith(f"{name}/")]
            kinds = _told(sum(inside, Counter())) if inside else "it is empty"
            raise DatasetError(
                f"{one}: a class folder without sound: {kinds}; convert its files (ffmpeg -i FILE FILE.wav), "
                f"or take it out of {folder}"
            )


def _told(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, bool]]:
    """Yield the files below a folder, and whether they hold sound; follow links, and skip what is hidden."""
    real = folder.resolve()
    if real in above:  # a link to an enclosing folder
        return
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror or error}") from error
    for file in files:
        if _skipped(file):
            continue
        if file.is_dir():
            yield from _files(file, (*above, real))
        else:
            yield file, file.suffix.lower() in SOUNDS or opening.holds_sound(file)


def _skipped(file: Path) -> bool:
    return file.name.startswith(".") or file.name.lower() in LITTER


def _name(file: Path, folder: Path) -> str:
    name = file.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:  # undecodable bytes became lone surrogates
        raise DatasetError(f"{folder}: {name!a}: the name is not UTF-8; rename it") from error
    return name
