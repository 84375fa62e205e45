"""How the documentation is built: warnings are errors, and every name must exist.

sphinx-build -n -W -b html docs docs/_build/html
sphinx-build -W -b doctest docs docs/_build/doctest
"""

from __future__ import annotations

import builtins
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.domains.python import PyXRefRole
from sphinx.pycode import ModuleAnalyzer

import aiopcap

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "aiopcap"
author = copyright = "The aiopcap authors"
version = release = aiopcap.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
exclude_patterns = ["_build"]

# --- Reference --------------------------------------------------------------------------------

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_display_short_literal_types = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
rst_prolog = ".. py:currentmodule:: aiopcap\n"

# Made by their users. Every other class is made by a function, and how is not for users.
WITH_CONSTRUCTOR = {
    "aiopcap.Packet",
    "aiopcap.Rotation",
    "aiopcap.SendQueue",
    "aiopcap.SourceString",
}

PUBLIC_TYPES = {
    "aiopcap._streams.sending.Target": "aiopcap.LiveCapture",
    # The text says whose options these are.
    ": ~typing.Unpack[~aiopcap._streams.opening.LiveKeywords]": "",
    ": ~typing.Unpack[~aiopcap._streams.dumper.DumpOptions]": "",
}


def hide_constructor(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str, None] | None:
    """Leave the signature out where users never call it."""
    hidden = what in {"class", "exception"} and name not in WITH_CONSTRUCTOR
    return ("", None) if signature and hidden else None


def public_types(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str, str | None] | None:
    """Name what users have, in place of what fulfils the type checker."""
    if signature is None or "aiopcap._" not in signature:
        return None
    for private, public in PUBLIC_TYPES.items():
        signature = signature.replace(private, public)
    return signature, returned


def public_bases(app: Sphinx, name: str, obj: type, options: object, bases: list[type]) -> None:
    """Name what an error can be caught as, in place of private bases between."""
    if not issubclass(obj, BaseException):
        return
    while any(base.__name__.startswith("_") for base in bases):
        bases[:] = [
            known
            for base in bases
            for known in (base.__bases__ if base.__name__.startswith("_") else (base,))
        ]
    bases[:] = [
        base
        for base in dict.fromkeys(bases)
        if not any(other is not base and issubclass(other, base) for other in bases)
    ]


def source_order(app: Sphinx) -> None:
    """Let members stand in the order of their sources.

    Public names say that they are of the facade, and there Sphinx looks for their order.
    """
    facade = ModuleAnalyzer.for_module("aiopcap")
    facade.analyze()
    for name in [name for name in sys.modules if name.startswith(("aiopcap._core.", "aiopcap._s"))]:
        room = ModuleAnalyzer.for_module(name)
        room.analyze()
        facade.tagorder.update(room.tagorder)


def keep_colons(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking what stands before a colon in a property's text for its type."""
    if what in {"attribute", "property"} and lines:
        lines[0] = f": {lines[0]}"


# --- Names ------------------------------------------------------------------------------------

nitpicky = True
# The values of a Literal are taken for classes where it is the type of an attribute; some versions
# of Sphinx keep their quotes.
nitpick_ignore_regex = [("py:class", "'?(max_bytes|max_packets|stopped|closed)'?")]
# In docstrings `this` is code; where it is the name of something here, it is a link as well.
default_role = "py:code-or-name"
OWN_NAMES = ("aiopcap.", "anyio.")

# Where others document their names. Inventories of these would have to be fetched, and the build
# has no network: a name is checked by importing it instead.
ANYIO = "https://anyio.readthedocs.io/en/stable/api.html#{name}"
PYTHON = "https://docs.python.org/3/library/{module}.html#{name}"
PAGES = {"anyio": ANYIO, "anyio.abc": ANYIO, "anyio.to_thread": ANYIO} | dict.fromkeys(
    ("collections.abc", "datetime", "ipaddress", "os", "pathlib"), PYTHON
)


class CodeOrName(PyXRefRole):
    """The default role."""

    def process_link(
        self,
        env: BuildEnvironment,
        refnode: Any,
        has_explicit_title: bool,
        title: str,
        target: str,
    ) -> tuple[str, str]:
        """Mark the node, for link_outside."""
        refnode["code-or-name"] = True
        return super().process_link(env, refnode, has_explicit_title, title, target)


def link_outside(app: Sphinx, env: object, node: Any, content: Any) -> nodes.Element | None:
    """Link a name of anyio or the standard library, if it exists."""
    target: str = node["reftarget"]
    module, _, attribute = target.rpartition(".")
    if not module and isinstance(getattr(builtins, attribute, None), type):
        error = issubclass(getattr(builtins, attribute), BaseException)
        page = "exceptions" if error else "functions"
        address = PYTHON.format(module=page, name=attribute)
    elif module in PAGES and hasattr(importlib.import_module(module), attribute):
        address = PAGES[module].format(module=module, name=target)
    elif node.get("code-or-name") and not target.startswith(OWN_NAMES):
        return content
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=address)


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.add_role_to_domain("py", "code-or-name", CodeOrName())
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("autodoc-process-signature", public_types)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("builder-inited", source_order)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("missing-reference", link_outside)


# --- Examples ---------------------------------------------------------------------------------

# They run in a folder of their own, where there is a savefile to read.
SNIPPETS = Path(__file__).parent / "snippets"
doctest_global_setup = f"""
import sys
sys.path.insert(0, {str(SNIPPETS)!r})
import sample
_folder = sample.enter_folder()
"""
doctest_global_cleanup = """
sample.leave_folder(_folder)
"""

# --- Pages ------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"aiopcap {release}"
html_copy_source = False
html_show_sphinx = False
