"""What the paper, its readers or a user expect, tested in this run: found, opposite, or cannot be told."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

import pandas as pd

from audio_neurons import tables
from audio_neurons.inference.patterns import FOUND, OPPOSITE, UNTOLD, PairDraws, PatternError, contrast
from audio_neurons.report.layout import AGAINST, NO, YES, Cell, Detail, Head, Part, Table, matrix, titles
from audio_neurons.report.summary import named, with_interval
from audio_neurons.report.words import by, called, many, p_text
from audio_neurons.running.files import atomic
from audio_neurons.study.expected import EVERY, MATCHED, RATIO, Expectation, read, sides

COLUMNS = tables.SCHEMAS["expectations"].names
NOT_TESTED = "not tested"
NO_COMPARISON = "this run does not compare these tasks"
NO_TASK = "this run has no such task"
NO_MODELS = "this run has no models of these kinds"
NO_DRAWS = "the selector cannot be resampled, or there are too many pairs of classes to resample each"
TONES = {FOUND: YES, OPPOSITE: AGAINST, UNTOLD: NO}


def expectations_table(
    expected: Sequence[Expectation],
    pair_draws: Sequence[str],
    differences: pd.DataFrame,
    models: Sequence[Mapping],
    comparisons: Sequence[Mapping],
    alpha: float,
    level: float,
) -> pd.DataFrame:
    """Return one row per expectation and model, or pair of models; the table ``expectations``.

    Of a ``ratio``, the effect, its interval and both p are those of
    :func:`audio_neurons.inference.patterns.contrast`, and the verdict is that of its result. Of another
    quantity, they are those of the row of ``differences``, and a difference that is called is found, or
    opposite. If this run cannot test an expectation, it has one row without a model, whose ``reason`` says
    why.

    Parameters
    ----------
    pair_draws
        Paths of ``pair_draws`` tables: for each comparison, those of all models; may be empty.
    models, comparisons
        Mappings with ``name`` and ``title``; models also with ``kind``, comparisons with ``tasks``, names.
    """
    cases = list(product(comparisons, models))
    paths = (
        dict(zip([(c["name"], m["name"]) for c, m in cases], pair_draws, strict=True)) if pair_draws else {}
    )
    rows: list[dict] = []
    for one in expected:
        if one.quantity == RATIO:
            rows += _of_ratios(one, paths, models, comparisons, alpha, level)
        else:
            rows += _of_differences(one, differences, comparisons, alpha)
    table = pd.DataFrame(rows, columns=COLUMNS)
    words = [field.name for field in tables.SCHEMAS["expectations"] if str(field.type) == "string"]
    texts = table[words].astype(object).fillna("")
    return table.assign(**texts, reported=table["reported"].eq(True))


def write(
    expected: Sequence[str],
    pair_draws: Sequence[str],
    differences: str,
    about: Mapping,
    data: str | os.PathLike,
    csv: str | os.PathLike,
) -> None:
    """Write the table ``expectations`` as Parquet and CSV, from files and what a study says of them."""
    table = expectations_table(
        read(expected),
        pair_draws,
        tables.read_frame(differences),
        about["models"],
        about["comparisons"],
        about["alpha"],
        about["level"],
    )
    tables.write(data, "expectations", table)
    with atomic(csv) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def _about(one: Expectation) -> dict:
    known = ("statement", "tasks", "quantity", "direction", "standing", "source")
    return {"expectation": one.id, **{name: getattr(one, name) for name in known}}


def _untested(one: Expectation, reason: str) -> list[dict]:
    return [{**_about(one), "verdict": NOT_TESTED, "reason": reason}]


def _of_ratios(
    one: Expectation,
    paths: Mapping[tuple[str, str], str],
    models: Sequence[Mapping],
    comparisons: Sequence[Mapping],
    alpha: float,
    level: float,
) -> list[dict]:
    own = [c for c in comparisons if " x ".join(c["tasks"]) == one.tasks]
    if not own:
        return _untested(one, NO_COMPARISON)
    if not paths:
        return _untested(one, NO_DRAWS)
    rows = []
    for comparison, model in product(own, models):
        draws = PairDraws.read(paths[comparison["name"], model["name"]], len(comparison["tasks"]) == 1)
        if not len(draws.names):
            return _untested(one, NO_DRAWS)
        inside, against, absent = pairs_of(one, draws)
        about = {
            **_about(one),
            "comparison": comparison["name"],
            **named(model),
            "reported": model["kind"] in one.kinds.split("+"),
            "pairs_inside": len(inside),
            "pairs_against": len(draws.names) - len(inside) if against is None else len(against),
            "pairs_absent": absent,
        }
        if not inside or against == []:
            return _untested(one, "this run has none of these classes")
        try:
            tested = contrast(draws, inside, against, level)
        except PatternError as error:
            return _untested(one, str(error))
        turned = {FOUND: OPPOSITE, OPPOSITE: FOUND} if one.direction == "less" else {}
        verdict = tested.verdict(alpha)
        facts = {name: getattr(tested, name) for name in CONTRAST}
        reason = "; ".join(tested.reasons(alpha))
        rows.append({**about, **facts, "verdict": turned.get(verdict, verdict), "reason": reason})
    return rows


CONTRAST = (
    "effect", "low", "high", "inside", "against", "relative", "label_p", "label_p_less", "identity_p",
    "identity_p_less", "identities", "identity_floor",
)  # fmt: skip


def _of_differences(
    one: Expectation, differences: pd.DataFrame, comparisons: Sequence[Mapping], alpha: float
) -> list[dict]:
    of = {c["name"]: " x ".join(c["tasks"]) for c in comparisons}
    rows = [row for row in differences.to_dict("records") if row["quantity"] == one.quantity]
    rows = [row for row in rows if one.tasks in (EVERY, row["name"], of.get(row["name"]))]
    if not rows:
        return _untested(one, NO_COMPARISON if " x " in one.tasks else NO_TASK)
    found = []
    for row in rows:
        kinds, sign = (row["kind_a"], row["kind_b"]), 1
        if kinds == (one.against, one.inside):
            sign = -1
        elif kinds != (one.inside, one.against):
            continue
        ends = sorted((sign * row["low"], sign * row["high"]))
        verdict = called(row, alpha)
        more = (verdict == "more") == (sign == 1)
        first, second = ("a", "b") if sign == 1 else ("b", "a")
        found.append(
            {
                **_about(one),
                "comparison": row["name"],
                "model": row[f"model_{first}"],
                "model_title": row[f"model_{first}_title"],
                "kind": row[f"kind_{first}"],
                "model_against": row[f"model_{second}_title"],
                "reported": True,
                "inside": row[f"value_{first}"],
                "against": row[f"value_{second}"],
                "effect": sign * row["difference"],
                "low": ends[0],
                "high": ends[1],
                "q_value": row["q_value"],
                "verdict": (FOUND if more == (one.direction == "more") else OPPOSITE) if verdict else UNTOLD,
                "reason": "" if verdict else "no difference can be called",
            }
        )
    return found or _untested(one, NO_MODELS)


Pair = tuple[str, str]


def pairs_of(one: Expectation, draws: PairDraws) -> tuple[list[Pair], list[Pair] | None, int]:
    """Return the pairs of a comparison that an expectation names, and how many of them are not there.

    The second list is None where the expectation is against all other pairs.
    """
    known = set(draws.names) | ({(b, a) for a, b in draws.names} if draws.within else set())
    matched = [pair for pair, same in zip(draws.names, draws.matched, strict=True) if same]
    inside, against = sides(one)
    absent = 0
    found: list[list[Pair]] = []
    for blocks in (inside, against):
        pairs: dict[Pair, None] = {}
        for block in blocks:
            if block == MATCHED:
                named_pairs = matched
            elif isinstance(block, str):
                first = {frozenset(pair) if draws.within else pair for pair in found[0]} if found else set()
                left = [
                    pair for pair in draws.names if (frozenset(pair) if draws.within else pair) not in first
                ]
                named_pairs = [pair for pair in left if pair not in set(matched)]
            else:
                named_pairs = _of_block(block, draws.within)
            absent += sum(pair not in known for pair in named_pairs)
            pairs |= dict.fromkeys(pair for pair in named_pairs if pair in known)
        found.append(list(pairs))
    return found[0], found[1] if against else None, absent


def _of_block(block: Sequence[Sequence[str]], within: bool) -> list[Pair]:
    if len(block) > 1:
        return [(a, b) for a, b in product(block[0], block[1]) if not (within and a == b)]
    return list(combinations(block[0], 2)) if within else list(product(block[0], block[0]))


# The page


def tested(found: Mapping) -> list[Mapping]:
    """Return the rows of expectations that were tested in a model, not between models."""
    return [row for row in found["expectations"] if row["verdict"] != NOT_TESTED and row["quantity"] == RATIO]


def parts(rows: Sequence[Mapping], about: Mapping) -> list[Part]:
    """Return what of the expectations is found, as parts of a section."""
    of_models = [row for row in rows if row["verdict"] != NOT_TESTED]
    left = {row["expectation"]: row["reason"] for row in rows if row["verdict"] == NOT_TESTED}
    notes, shown = [], []
    if ratios := [row for row in of_models if row["quantity"] == RATIO]:
        shown.append(_patterns(ratios, about))
    if between := [row for row in of_models if row["quantity"] != RATIO]:
        shown.append(_between(between))
    if left:
        told = Counter(left.values())
        reasons = "; ".join(f"{number:,}: {reason}" for reason, number in told.items())
        notes.append(f"{many(len(left), 'expectation')} cannot be tested here ({reasons}).")
    if partly := {r["expectation"]: r["pairs_absent"] for r in of_models if r["pairs_absent"] > 0}:
        absent = ", ".join(f"{name} ({number:.0f})" for name, number in partly.items())
        notes.append(f"Without pairs of classes that this run does not have: {absent}.")
    details = [Detail("Why nothing can be told, pattern by pattern", [_reasons(ratios)])] if ratios else []
    return [Part("Expected patterns", notes, tables=shown, details=details)] if rows else []


def _patterns(rows: Sequence[Mapping], about: Mapping) -> Table:
    cells = {
        f"{own[0]['statement']} ({own[0]['standing'] or own[0]['source']})": {
            row["model"]: _cell(row) for row in own
        }
        for own in by(rows, "expectation", "comparison").values()
    }
    note = "Effect: mean common-neuron ratio of these pairs less that of the others. Models of other kinds "
    note += "than those of which a pattern is reported are there for comparison: what the random one shows "
    note += "too is not learnt."
    return matrix(
        "Patterns of shared neurons",
        "expected",
        titles(about["models"]),
        cells,
        "expectations",
        "expectation",
        note,
    )


def _cell(row: Mapping) -> Cell:
    if math.isnan(row["effect"]):
        return Cell("-", "no neurons", UNTOLD)
    text = with_interval(row["effect"], row["low"], row["high"], "{:+.3f}")
    less = row["effect"] < 0
    names, labels = (row[f"{which}_p_less" if less else f"{which}_p"] for which in ("identity", "label"))
    return Cell(
        text, f"p names {p_text(names)}, labels {p_text(labels)}", row["verdict"], TONES[row["verdict"]]
    )


def _between(rows: Sequence[Mapping]) -> Table:
    heads = [
        Head("expected", "expectation"),
        Head("of"),
        Head("models"),
        Head("difference", "difference"),
        Head(""),
    ]
    cells = [
        [
            row["statement"],
            row["comparison"],
            f"{row['model_title']} less {row['model_against']}",
            Cell(with_interval(row["effect"], row["low"], row["high"]), f"q {p_text(row['q_value'])}"),
            Cell("", "", row["verdict"], TONES[row["verdict"]]),
        ]
        for row in rows
    ]
    return Table("Differences between models", heads, cells, "expectations")


def _reasons(rows: Sequence[Mapping]) -> Table:
    def lines() -> Iterator[list[Cell | str]]:
        for row in rows:
            if row["verdict"] == UNTOLD:
                ways = f"{row['identities']:,.0f} ways to name the classes"
                yield [row["expectation"], row["model_title"], Cell(row["reason"], ways)]

    return Table(
        "", [Head("expectation", "expectation"), Head("model"), Head("why")], list(lines()), "expectations"
    )
