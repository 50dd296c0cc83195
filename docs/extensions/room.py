"""The directive ``room``: a table of the names of a room, and then each with its docstring.

Names are written as one calls them, ``skviz.sweep``, wherever they are defined.
"""

import inspect
import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autosummary import import_by_name
from sphinx.util.docutils import SphinxDirective

NAME = re.compile(r"skviz(\.\w+)+")


def described(name: str) -> list[str]:
    """Return what autodoc is told of a name."""
    thing = import_by_name(name)[1]
    if inspect.ismodule(thing):
        said = (inspect.getdoc(thing) or "").splitlines()
        return [f".. py:module:: {name}", "", f".. rubric:: {name}", "", *said, ""]
    if not inspect.isclass(thing):
        return [f".. autofunction:: {name}" if callable(thing) else f".. autodata:: {name}", ""]
    if issubclass(thing, Exception):
        return [f".. autoexception:: {name}", "   :no-members:", ""]
    return [f".. autoclass:: {name}", "   :members:", ""]


class Room(SphinxDirective):
    """One name a line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Write the table, then what is in it."""
        names = [line.strip() for line in self.content if line.strip()]
        table = [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
        lines = table + [line for name in names for line in described(name)]
        held = nodes.section(document=self.state.document)
        self.state.nested_parse(StringList(lines, self.env.docname), 0, held)
        return held.children


def by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> Any:
    """Link what docstrings call by its last name alone, if only one thing has it."""
    if node.get("as_code"):
        return content  # it need not be on these pages
    name = node.get("reftarget", "")
    domain = env.domains.python_domain
    full = [each for each in domain.objects if each.endswith(f".{name}")]
    if node.get("refdomain") != "py" or len(full) != 1:
        return None
    source = node.get("refdoc", env.docname)
    return domain.resolve_xref(env, source, app.builder, "obj", full[0], node, content)


def linked(app: Sphinx, page: nodes.document) -> None:
    """Link names of skviz wherever they are written as code, if there is something to be found."""
    for node in list(page.findall(nodes.literal)):
        name = node.astext()
        if NAME.fullmatch(name) and not isinstance(node.parent, pending_xref | nodes.reference):
            link = pending_xref(
                "", node.deepcopy(), refdomain="py", reftype="obj", reftarget=name,
                refdoc=app.env.docname, as_code=True,
            )  # fmt: skip
            node.replace_self(link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("room", Room)
    app.connect("doctree-read", linked)
    app.connect("missing-reference", by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
