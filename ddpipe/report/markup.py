"""Plain text as Markdown and LaTeX: tables, bold, and every character of names, notes and marks."""

from collections.abc import Sequence

BOLD = "\x02{}\x03"  # what `md` and `tex` make bold: no character that they would escape
MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*[]"} | {"<": "&lt;", "&": "&amp;", "\x02": "**", "\x03": "**"})


def md(text: str) -> str:
    """Plain text on one line as Markdown: names and notes bring no links, tags or columns of their own."""
    return " ".join(text.split()).translate(MARKDOWN)


LATEX = {c: "\\" + c for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
LATEX |= {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "²": r"\textsuperscript{2}", "–": "--"}
LATEX |= {"^": r"\textasciicircum{}", "±": r"$\pm$", "▲": r"$\uparrow$", "▼": r"$\downarrow$", "◇": r"$\diamond$"}
LATEX |= {"‡": r"\ddag{}", "§": r"\S{}", "\x02": r"\textbf{", "\x03": "}"}
LATEX |= {"●": r"$\bullet$", "⊙": r"$\odot$", "○": r"$\circ$", "⊕": r"$\oplus$"}  # the states; no package needed


def tex(text: str) -> str:
    """Plain text on one line as LaTeX source."""
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))


def pipes(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table of plain text and BOLD; the first `left` columns are words, the others numbers."""
    rule = [":--"] * left + ["--:"] * (len(header) - left)
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(md(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
