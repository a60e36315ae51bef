"""A figure as SVG for a page: small, always the same, without anything that other figures of the page could meet."""

import io
import re
from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree as tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMESPACE, LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
FONTS = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
NUMBER = re.compile(r"-?\d+\.\d{3,}")
REFERENCE = re.compile(r"#([\w.-]+)")
NUMERIC = {"d", "x", "y", "width", "height", "viewBox", "transform"}
METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # nothing that tells when and by what


def svg(figure: "Figure", address: str, title: str, description: str) -> str:
    """One `<svg>` element for an HTML page: text is text, its ids begin with `address`, numbers have two decimals."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": address}):
        figure.savefig(buffer, format="svg", metadata=METADATA)
    root = tree.fromstring(buffer.getvalue())
    _drop(root)
    _rename(root, address)
    _shorten(root)
    _gather(root)
    width, height = root.attrib["viewBox"].split()[2:]
    told = {"width": width, "height": height, "role": "img", "aria-labelledby": f"{address}-title {address}-words"}
    drawn = {"font-family": FONTS, "stroke-linejoin": "round"}
    root.attrib = {"viewBox": root.attrib["viewBox"]} | told | drawn
    for place, (tag, name, words) in enumerate((("title", "title", title), ("desc", "words", description))):
        element = tree.Element(tag, {"id": f"{address}-{name}"})
        element.text = words
        root.insert(place, element)
    return tree.tostring(root, encoding="unicode")


def standalone(element: str) -> str:
    """What `svg` gave as a file of its own."""
    return element.replace("<svg ", f'<svg xmlns="{NAMESPACE}" ', 1) + "\n"


def _drop(root: tree.Element) -> None:
    """Style sheets, which would hold for the whole page, and clips of the whole sheet."""
    size, whole = root.attrib["viewBox"].split()[2:], set()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith("}style"):
                parent.remove(child)
            if child.tag.endswith("}clipPath") and [child[0].get("width"), child[0].get("height")] == size:
                whole.add(f"url(#{child.attrib['id']})")
    for element in root.iter():
        if element.get("clip-path") in whole:
            del element.attrib["clip-path"]


def _rename(root: tree.Element, address: str) -> None:
    """What something refers to is called `<address>-<number>`; other ids are dropped."""
    asked = {name for element in root.iter() for value in element.attrib.values() for name in REFERENCE.findall(value)}
    known = [element.attrib["id"] for element in root.iter() if element.attrib.get("id") in asked]
    names = {name: f"{address}-{number}" for number, name in enumerate(known)}
    for element in root.iter():
        if (name := element.attrib.pop("id", None)) in names:
            element.attrib["id"] = names[name]
        if link := element.attrib.pop(LINK, None):
            element.attrib["href"] = link
        for key in ("href", "clip-path"):
            if key in element.attrib:
                element.attrib[key] = REFERENCE.sub(
                    lambda found: f"#{names.get(found[1], found[1])}", element.attrib[key]
                )


def _shorten(element: tree.Element) -> None:
    """Without namespaces, blank text, groups that say nothing, and decimals that nobody sees."""
    element.tag = element.tag.rpartition("}")[2]
    for key, value in list(element.attrib.items()):
        if key in NUMERIC:
            value = NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
        if key == "d":
            value = re.sub(r"\s*([A-Za-z])\s*", r"\1", value.strip())
        if key == "style":
            parts = [part.strip().replace(": ", ":") for part in value.split(";")]
            value = ";".join(part for part in parts if not part.startswith("font-family"))
        element.attrib[key] = value
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    for child in list(element):
        _shorten(child)
    flat: list[tree.Element] = []
    for child in element:
        if child.tag == "g" and not child.attrib:
            flat += child
        elif child.tag != "defs" or len(child):
            flat.append(child)
    element[:] = flat
    if element.tag != "text":
        element.text = None
    element.tail = None


def _gather(element: tree.Element) -> None:
    """Neighbours of one style share a group that has it."""
    found: list[tree.Element] = []
    for style, members in groupby(element, key=lambda child: child.get("style")):
        same = list(members)
        if style and len(same) > 1:
            for child in same:
                del child.attrib["style"]
            group = tree.Element("g", {"style": style})
            group[:] = same
            found.append(group)
        else:
            found += same
    element[:] = found
    for child in element:
        _gather(child)
