"""The table of all figures, and what they must show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.gpu.sheet import FAILED, LATE, MEASURED, OPEN, PRECISIONS

MOST = 1.03  # of the time of bare passes, that extraction may take


def shown(found: Mapping, parts: Mapping[str, str], most: int) -> str:
    """Return the table, of at most ``most`` characters; the lines at its end say what was to be shown.

    Parameters
    ----------
    found
        What gpu.json holds.
    parts
        Letter → what the part measures.
    """
    quick = " (tiny sizes: these are no measurements)" if found["quick"] else ""
    head = f"bench-gpu, {found['when']}, commit {found['commit'] or 'unknown'}, {found['device']}{quick}"
    end = [*accepted(found["rows"]), *states(found["rows"])]
    blocks = {}
    for letter, what in parts.items():
        rows = [row for row in found["rows"] if row["part"] == letter]
        if rows:
            title = f"\n{letter}. {what} ({found['seconds'].get(letter, 0):.0f} s)"
            blocks[title] = lines(rows)
    text = [head, *(one for title, lines in blocks.items() for one in (title, *lines)), "", *end]
    while len("\n".join(text)) > most and any(blocks.values()):
        longest = max(blocks.values(), key=len)
        longest.pop()
        rest = ["", "Some rows are in gpu.json only."]
        text = [head, *(one for title, lines in blocks.items() for one in (title, *lines)), *rest, *end]
    return "\n".join(text)


def lines(rows: Sequence[Mapping]) -> list[str]:
    """Return rows as lines; rows whose names begin alike, until a colon, share one.

    >>> row = {"what": "a copy: there", "value": 1234.5, "unit": "GB/s", "note": "read", "state": "measured"}
    >>> back = {**row, "what": "a copy: back", "value": None, "note": "needs CUDA", "state": "open"}
    >>> lines([row, back])
    ['  a copy: there 1,230 GB/s (read); back open (needs CUDA)']
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        about, _, rest = row["what"].partition(": ")
        value = "" if row["value"] is None else f"{number(row['value'])} {row['unit']}".rstrip()
        said = row["state"] if row["state"] != MEASURED else value
        note = f"({row['note']})" if said and row["note"] else row["note"]
        found.setdefault(about, []).append(" ".join(filter(None, [rest, said, note])))
    return [f"  {about}: {'; '.join(some)}" for about, some in found.items()]


def number(value: float) -> str:
    """Return three digits of a number.

    >>> number(12345.6), number(0.012345), number(0.0)
    ('12,300', '0.0123', '0')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def states(rows: list[Mapping]) -> Iterator[str]:
    """Yield how many figures there are not, and why."""
    for state, why in ((OPEN, "open"), (LATE, "late: no time was left"), (FAILED, "failed")):
        names = [f"{row['part']}: {row['what']}" for row in rows if row["state"] == state]
        if names:
            told = "; ".join(names[:12]) + ("; ..." if len(names) > 12 else "")
            yield f"{len(names)} {why}: {told}"


def accepted(rows: list[Mapping]) -> Iterator[str]:
    """Yield a line for everything that the figures must show: ok, NOT, or open."""
    known = {row["what"]: row["value"] for row in rows if row["value"] is not None}
    open_ = any(row["state"] == OPEN for row in rows)
    for precision in PRECISIONS:
        for what, pattern in (
            ("statistics on the device", rf"vit-base, {precision}, batch \d+: statistics.* / bare"),
            ("extraction from end to end", rf"extract, time / bare passes: {precision}, batch \d+"),
        ):
            found = {name: value for name, value in known.items() if re.fullmatch(pattern, name)}
            yield _judged(f"{what} / bare passes, {precision}, at most {MOST}", found, MOST, min, open_)
    for what, pattern in (
        ("recorder equals sums in int64", "recorder, wrong"),
        ("strongest clips equal a sort", "strongest clips, among"),
        ("shared runs of changes have the bits of their own", "shared runs of changes differ"),
        ("the same job again counts the same", r"share of counts that differ, \w+: again"),
        ("an interrupted training has the bytes of a whole one", "weights of a training differ"),
        ("a late card changes no table", "tables that differ"),
    ):
        found = {name: value for name, value in known.items() if re.match(pattern, name)}
        yield _judged(what, found, 0, max, open_)
    yield from binding(known)


def _judged(what: str, found: Mapping[str, float], most: float, best, open_: bool) -> str:
    if not found:
        return f"open  {what}" if open_ else f"none  {what}: nothing was measured"
    name = best(found, key=found.__getitem__)
    told = f"{number(found[name])} ({name})"
    # Figures of a CPU say nothing of a GPU.
    state = "open" if open_ and most else "ok" if found[name] <= most else "NOT"
    return f"{state:<5} {what}: {told}"


def binding(known: Mapping[str, float]) -> Iterator[str]:
    """Yield which stage of the host caps what the device can do, by precision."""
    stages = {
        "reading": known.get("reading Parquet"),
        "decoding": max((v for k, v in known.items() if k.startswith("decoding, ")), default=None),
        "writing": known.get("writing: embeddings, counts"),
    }
    slowest = {name: rate for name, rate in stages.items() if rate}
    if not slowest:
        return
    name = min(slowest, key=slowest.__getitem__)
    for precision in PRECISIONS:
        sizes = {
            int(found[1]): value
            for what, value in known.items()
            if (found := re.fullmatch(rf"vit-base, {precision}, batch (\d+): bare", what))
        }
        if sizes:
            rate = max(1000 * size / value for size, value in sizes.items())
            first = "the device" if rate < slowest[name] else name
            told = ", ".join(f"{stage} {number(value)}" for stage, value in slowest.items())
            yield f"      {precision}: {first} binds (device {number(rate)} clips/s; {told})"
