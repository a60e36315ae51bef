"""A figure as SVG for a page: small, without anything that other figures of the page could meet, the same every time."""

import io
import re
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
    """One `<svg>` element with text as text, its ids beginning with `address`; numbers have two decimals."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": address}):
        figure.savefig(buffer, format="svg", metadata=METADATA)
    root = tree.fromstring(buffer.getvalue())
    _drop_style(root)
    _rename(root, address)
    _shorten(root)
    width, height = root.attrib["viewBox"].split()[2:]
    told = {"width": width, "height": height, "role": "img", "aria-labelledby": f"{address}-title {address}-words"}
    drawn = {"font-family": FONTS, "stroke-linejoin": "round"}
    root.attrib = {"xmlns": NAMESPACE, "viewBox": root.attrib["viewBox"]} | told | drawn
    for place, (tag, name, words) in enumerate((("title", "title", title), ("desc", "words", description))):
        element = tree.Element(tag, {"id": f"{address}-{name}"})
        element.text = words
        root.insert(place, element)
    return tree.tostring(root, encoding="unicode") + "\n"


def _drop_style(root: tree.Element) -> None:
    """A style sheet would hold for the whole page."""
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag.endswith("}style")]:
            parent.remove(child)


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
