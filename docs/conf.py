"""How Sphinx builds the site: `scripts/docs` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import minirnn  # noqa: E402

project = "minirnn"
author = "the minirnn maintainers"
copyright = "the minirnn maintainers"
version = release = minirnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "equations",
    "alive",
    "reference",
    "examples_gallery",
    "repository_links",
]
nitpicky = True
templates_path = ["_templates"]
exclude_patterns = ["_build", "_fragments", "requirements.txt", "learn/README.txt"]
root_doc = "index"

# ---------------------------------------------------------------- Markdown
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

# ---------------------------------------------------------------- the reference
autosummary_generate = True
autodoc_typehints = "none"
# Large, and not needed to read docstrings.
autodoc_mock_imports = ["torch", "keras", "mpi4py"]
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
default_role = "code"

# ---------------------------------------------------------------- Learn: run at build time
sphinx_gallery_conf = {
    "examples_dirs": ["learn"],
    "gallery_dirs": ["learn_built"],
    "filename_pattern": r"/\d_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 60,
    "remove_config_comments": True,
    "image_scrapers": ("matplotlib",),
}

# ---------------------------------------------------------------- HTML
html_theme = "furo"
html_title = "minirnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sphinx = False
# From the npm registry into _static, by scripts/docs: the site asks no other host for anything.
mathjax_path = "mathjax/tex-svg.js"
html_theme_options = {"navigation_with_keys": True}
linkcheck_anchors = False
