"""The site: pages of the repository where they are, so that their links lead the same way here and there."""

import os
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the library is imported for its docstrings; nothing is fetched

project = "Audio Neurons"
author = copyright = "The Audio Neurons developers"

# The source folder is the repository's root: `sphinx-build -c docs . site`.
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**",
    "config/README.md",
    "results/README.md",
]
exclude_patterns = [".*", "site", "demo", "resources", "logs", "results/*/**", "docs/site"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # GitHub's anchors
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
# Some rooms have classes of the same name (Task, Selection), and some settings are called `bytes`.
suppress_warnings = ["ref.python"]

# Nothing of the site is fetched from elsewhere.
html_theme = "furo"
html_title = "Audio Neurons"
html_copy_source = False
html_extra_path = ["site"]  # index.html, which leads to docs/index.html
html_show_sphinx = False
lexers["csv"] = TextLexer()  # Pygments has none
