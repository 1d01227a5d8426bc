"""Whatever is wrong in a configuration is said with the path of its key, and never as a traceback."""

from copy import deepcopy

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_config import MINIMAL, SHIPPED, changed, problems

from audio_neurons import datasets
from audio_neurons.study.loading import ConfigError, complete

# Blocks whose keys are the user's own.
NAMED = ("datasets", "tasks", "models", "comparisons", "pools", "selectors", "lists")
FREE = ("options", "config", "mirror", "excluded", "shares", "classes", "parts")


def paths(value, path=()):
    """Every path into a configuration: of blocks, and of what is in them."""
    yield path
    children = {dict: dict.items, list: enumerate}.get(type(value), lambda _: ())(value)
    for key, inner in children:
        if key not in FREE:
            yield from paths(inner, (*path, key))


def at(config, path):
    for key in path:
        config = config[key]
    return config


def told(config) -> list[str]:
    with pytest.raises(ConfigError) as error:
        complete(config)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


BLOCKS = [
    (name, path)
    for name, config in SHIPPED.items()
    for path in paths(config)
    if isinstance(at(config, path), dict)
    and not (path and path[-1] in (*NAMED, *FREE))
    and path[:-1] != ("ablation",)
]
VALUES = [(name, path) for name, config in SHIPPED.items() for path in paths(config) if path]
keys = st.from_regex(r"[a-z]{1,4}_?[äß鳥 .:\"'{}$-]{1,3}", fullmatch=True) | st.just("__proto__")


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(BLOCKS), keys)
def test_an_unknown_key_is_named_with_its_path(where, key):
    name, path = where
    config = deepcopy(SHIPPED[name])
    block = at(config, path)
    assume(key not in block)
    block[key] = 1
    assert any(line.startswith(f"{'.'.join(map(str, (*path, key)))}: unknown key; ") for line in told(config))


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(VALUES), st.sampled_from([{"zzz": []}, [[{}]], "\0", -1e300, True]))
def test_a_value_of_another_type_is_named_with_its_path(where, wrong):
    name, path = where
    config = deepcopy(SHIPPED[name])
    value = at(config, path)
    # A whole number may also be a fraction: -1e300 is another number, and some settings take any.
    assume(type(value) is not type(wrong) and not (type(value) is int and type(wrong) is float))
    at(config, path[:-1])[path[-1]] = wrong
    full, key = ".".join(map(str, path)), ".".join(map(str, path[:-1]))
    # Of what is wrong inside a value, its own path; of what is wrong with a name, the path of its block.
    assert any(line.startswith((f"{full}:", f"{full}.", f"{key or 'top level'}:")) for line in told(config))


OPTIONS = [(name, key) for name in datasets.adapters() for key in datasets.source(name).get("options", {})]


@pytest.mark.parametrize(("adapter", "option"), OPTIONS)
def test_options_are_checked_before_anything_is_fetched(adapter, option, tmp_path):
    (tmp_path / "list.csv").write_text("path,x\na.wav,1\nb.wav,2\n")
    files = {"files": str(tmp_path / "list.csv")} if adapter == "custom" else {}
    base = changed("datasets.d", {"adapter": adapter, **files})
    default = datasets.source(adapter)["options"][option]
    for fine in (default, None):
        complete(changed(f"datasets.d.options.{option}", fine, base))
    if default is not None:
        wrong = [] if isinstance(default, dict) else {}
        (line,) = problems(changed(f"datasets.d.options.{option}", wrong, base))
        assert line.startswith(f"datasets.d.options.{option}: {wrong!r} is not of type ")
    (line,) = problems(changed(f"datasets.d.options.{option}_", 1, base))
    assert line.startswith(f"datasets.d.options.{option}_: no option '{option}_'; there are ")


PAIRS = [
    b"", b"a,b\n", b"a,b\ndog\n", b"a\ndog\n", b"a,b\ndog,cat,extra\nx\n", b"\xff\xfe", b"a,b\n\x00,\x00\n",
    b'a,b\n"dog,male\n', b"a,b\n" + b"x" * 200_000 + b",y\n",
]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(data=st.sampled_from(PAIRS) | st.binary(max_size=40) | st.text('ab,"\n\r\t\0ü').map(str.encode))
def test_a_table_of_pairs_is_read_or_named(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "pairs.csv"
    file.write_bytes(data)
    block = {"tasks": ["events", "sex"], "pairs": str(file)}
    try:
        pairs = complete(changed("comparisons.x", block))["comparisons"]["x"]["pairs"]
    except ConfigError as error:
        lines = str(error).splitlines()[1:]
    else:
        lines = []
        assert pairs
        assert all(len(pair) == 2 and all(pair) for pair in pairs)
    assert all(line.startswith("  comparisons.x.pairs: ") for line in lines)


@pytest.mark.parametrize("whole", [None, [], "text", 3, True, {}, {"datasets": None}, [MINIMAL]])
def test_what_is_no_configuration_at_all(whole):
    assert told(whole)
