"""The documentation as a site: `make docs`. Sphinx with furo and MyST; the pages are the same Markdown that the repository shows."""

import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "Longhand"
author = "The Longhand authors"
copyright = "Apache-2.0"
try:
    release = metadata.version("longhand")
except metadata.PackageNotFoundError:
    release = "unknown"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Longhand {release}"
html_copy_source = False
html_show_sphinx = False
# Nothing is fetched from anywhere when a page is read.
html_theme_options = {"navigation_with_keys": True}

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
# Docstrings of ours are plain text with `names`; read as Markdown they would need no escapes, as reST they warn about stars.
suppress_warnings = ["myst.xref_missing", "docutils", "ref.python", "autosectionlabel.*"]
