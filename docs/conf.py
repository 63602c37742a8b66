"""Sphinx's settings: pages in Markdown, the API reference from the docstrings.

Docstrings follow Google's style (napoleon) and hold three things that reStructuredText would read
otherwise: displays by indentation (equations, commands), Markdown tables, and names in single
backticks. `_rewrite_docstring` turns the first two into literal blocks and list tables; the default
role makes of the last a link where the name is documented and plain code where it is not.
"""

import itertools
import re

from docutils import nodes

project = "i2sb_jax"
author = "The i2sb_jax authors"
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "i2sb_jax"
html_show_copyright = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"
highlight_language = "none"  # of docstrings: displays are equations, mostly
add_module_names = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "special-members": "__call__",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # names in single backticks that have no entry stay plain code
    ("py:class", r"(?!i2sb_jax\.).*"),  # types of other packages, whose pages are not asked for
    # type variables
    ("py:class", r"i2sb_jax\.(checkpoint\.State|accelerators\.agreement\.Answer)"),
]

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Note|Example)s?:$")
_PLURAL = re.compile(r"(`[^`]+`)(?=\w)")  # a letter right behind a name in backticks
_ROW = re.compile(r"\|.*\|$")


def setup(app):
    """Hooks into autodoc; before napoleon, which sees the docstring as it is rewritten."""
    app.connect("autodoc-process-docstring", _rewrite_docstring, priority=100)
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("missing-reference", _find_public_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _skip_member(app, what, name, obj, skip, options):
    """Leaves the fields of named tuples to the docstring of their class."""
    return (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") or None


def _rewrite_docstring(app, what, name, obj, options, lines):
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # else napoleon takes what stands before a colon for a type
    head = next((i for i, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    sections = map(_escaped, lines[head:])
    lines[:] = [*_list_tables(_literal_displays(lines[:head])), "", *sections]


def _escaped(line):
    """What reStructuredText would take for emphasis, or for a role that does not end."""
    return _PLURAL.sub(r"\1\\ ", line.replace("*", r"\*"))


def _literal_displays(lines):
    """Indented lines as literal blocks."""
    in_display = False
    for line in lines:
        if line.strip() and line.startswith("  ") != in_display:
            in_display = not in_display
            yield from ("", "::", "") if in_display else ("",)
        yield line if in_display else _escaped(line)


def _list_tables(lines):
    """Markdown tables as list tables."""
    for is_row, group in itertools.groupby(lines, lambda line: bool(_ROW.match(line))):
        if not is_row:
            yield from group
            continue
        header, _, *rows = ([cell.strip() for cell in row[1:-1].split("|")] for row in group)
        yield from ("", ".. list-table::")
        if any(header):
            yield "   :header-rows: 1"
            rows.insert(0, header)
        yield ""
        for row in rows:
            yield from (f"   {'  -' if i else '* -'} {cell}" for i, cell in enumerate(row))
        yield ""


def _find_public_name(app, env, node, contnode):
    """Annotations name the module that defines a type; its entry has the name users import."""
    package, _, name = node.get("reftarget", "").rpartition(".")
    domain = env.get_domain("py")
    while package.startswith("i2sb_jax."):
        package = package.rpartition(".")[0]
        if f"{package}.{name}" in domain.objects:
            entry = domain.objects[f"{package}.{name}"]
            from_page = node.get("refdoc", env.docname)
            uri = app.builder.get_relative_uri(from_page, entry.docname) + f"#{entry.node_id}"
            return nodes.reference("", "", contnode, internal=True, refuri=uri)
    return None
