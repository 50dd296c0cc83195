"""The site: ``make docs`` builds it from these pages, the notebooks and the docstrings.

Nothing in it asks another host: formulas are MathML, no project's inventory is fetched, and the
stored outputs of the notebooks are shown without the code of Jupyter's widgets.
"""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project, author, copyright = "skviz", "The skviz authors", "The skviz authors"  # noqa: A001
release = metadata.version("skviz")

extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon",
    "elsewhere", "live_page", "mathml", "room",
]  # fmt: skip
exclude_patterns = ["_build", "extensions"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
html_math_renderer = "mathml"

# What a docstring says of a parameter is enough beside its default.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_param = napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]
default_role = "py:obj"
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # … stands for what a reader fills in
# What is no name of this package is not linked: its documentation would have to be fetched.
nitpick_ignore_regex = [("py:.*", r"(?!skviz\.).*")]

html_theme = "pydata_sphinx_theme"
html_title = "skviz"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
