"""Write envs/*.yaml, conda's environments, from envs/lock.txt: `make lock`.

Conda hands what is under ``pip:`` to pip as requirements, without options such as ``--no-deps``, and from a
copy of the file, from which no relative path leads to the lock. So each environment lists all that its
packages need, with the hashes of the lock: pip has nothing to choose, and installs these very files or none.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """\
# {what}
# `make lock` writes this from envs/lock.txt: the packages come through pip, to be the files tested.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.12
  - pip
  - pip:
"""
# Environment → what it is for, and the packages that its rules import.
ENVIRONMENTS = {
    "audio-neurons": (
        "What every rule of the full reproduction runs in.",
        "jinja2 jsonschema lazy-loader matplotlib numpy pandas pyarrow pydantic pyyaml requests "
        "safetensors scipy seaborn soundfile soxr timm torch torchaudio torchvision transformers urllib3",
    ),
    "demo": (
        "What makes the demo's recordings: eSpeak NG and a SoundFont, both under the GPL.",
        "lazy-loader numpy pandas pyarrow pydantic pyyaml scipy soundfile espeakng-loader pretty-midi",
    ),
}


def needed(lock: str, names: set) -> list:
    """The lock's entries of packages and of all that they need, in the lock's order, without comments."""
    entries = re.findall(r"^(([\w.-]+)==(?:.*\\\n)*.*)((?:\n +#.*)*)", lock, re.M)
    found: set = set()
    while names - found:
        found |= names
        names = {name for _, name, why in entries if found & set(re.findall(r"[\w.-]+", why))}
    return [entry for entry, name, _ in entries if name in found]


def page(lock: str, name: str) -> str:
    """A conda environment."""
    what, packages = ENVIRONMENTS[name]
    entries = [re.sub(r" *\\\n *", "\n          ", entry) for entry in needed(lock, set(packages.split()))]
    return HEAD.format(what=what) + "".join(f"      - {entry}\n" for entry in entries)


if __name__ == "__main__":
    for environment in ENVIRONMENTS:
        written = page((HERE / "lock.txt").read_text(encoding="utf-8"), environment)
        (HERE / f"{environment}.yaml").write_text(written, encoding="utf-8")
