"""The templates of pages, and how they are filled."""

from __future__ import annotations

import functools

import jinja2


@functools.cache
def page_template(name: str) -> jinja2.Template:
    """A template that escapes everything it is given, and refuses names it is not given.

    Args:
        name: the name of a file in ``templates``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ttame.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
