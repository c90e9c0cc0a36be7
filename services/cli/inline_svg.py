"""Turns a plot's SVG into a part of an HTML page: themed, named for those who do not see it, under a strict CSP.

A strict content security policy forbids style attributes, so each becomes presentation attributes. Each color of the
palette becomes a CSS variable. Ids get a prefix, since a page holds many plots. Nothing refers to anything outside.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from services.cli.drawing import PALETTE

_COLORS = {color: f"var(--{name})" for name, color in PALETTE.items()}
_FONT = re.compile(r"(?P<size>[\d.]+)px")
_LINK = "{http://www.w3.org/1999/xlink}href"
_DROPPED = ("metadata", "style")


def inline(svg: str, *, name: str, title: str, description: str) -> str:
    """Return an `svg` element with an accessible title and description; `name` prefixes its ids."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - drawn by us, a moment ago
    _clean(root, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"class": "plot", "role": "img", "aria-labelledby": f"{name}-title {name}-description"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{name}-{'title' if tag == 'title' else 'description'}"})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, name: str) -> None:
    element.tag = element.tag.rpartition("}")[2]
    for child in list(element):
        if child.tag.rpartition("}")[2] in _DROPPED:
            element.remove(child)
        else:
            _clean(child, name)
    style = element.attrib.pop("style", "")
    for declaration in filter(None, (part.strip() for part in style.split(";"))):
        attribute, _, value = declaration.partition(":")
        element.attrib |= _presentation(attribute.strip(), value.strip())
    link = element.attrib.pop(_LINK, None)
    if link is not None:
        element.set("href", link)
    for attribute, value in list(element.attrib.items()):
        element.set(attribute, _local(attribute, _COLORS.get(value, value), name))


def _presentation(attribute: str, value: str) -> dict[str, str]:
    """Return a declaration as presentation attributes; the family of letters comes from the page."""
    if attribute == "font":
        size = _FONT.search(value)
        return {"font-size": size["size"]} if size else {}
    return {attribute: value}


def _local(attribute: str, value: str, name: str) -> str:
    """Prefix an id, or a reference to one."""
    if attribute == "id":
        return f"{name}-{value}"
    if attribute == "href":
        return f"#{name}-{value.removeprefix('#')}"
    return value.replace("url(#", f"url(#{name}-")
