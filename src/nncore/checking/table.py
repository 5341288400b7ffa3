"""The table of a gradient report, with what stands above and below it, as text and as HTML."""

import html
import textwrap
from collections.abc import Iterable

HEADER = ("parameter", "shape", "checked", "worst", "analytic", "numerical", "abs error", "rel error", "verdict")
ALIGN = (str.ljust,) * 4 + (str.rjust,) * 4 + (str.ljust,)  # words begin at the left, numbers end at the right
WIDTH = 120
STYLE = (
    "body { font: 15px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; "
    "color-scheme: light dark } table { border-collapse: collapse; font-variant-numeric: tabular-nums } "
    "th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #8884 } "
    "th:nth-child(-n+4), td:nth-child(-n+4), th:last-child, td:last-child { text-align: left }"
)

Rows = Iterable[tuple[str, ...]]
Sections = Iterable[tuple[str, list[str]]]  # titles and their lines


def as_text(heading: list[str], body: Rows, sections: Sections) -> str:
    """Return the report in lines of at most WIDTH columns."""
    rows = [HEADER, *body]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    # a long name gives way to the numbers
    widths[0] = max(len(HEADER[0]), min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths[1:])))
    lines = [line for text in heading for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")] + [""]
    for name, *cells in rows:
        row = _clipped(name, widths[0]), *cells
        padded = (align(cell, width) for align, cell, width in zip(ALIGN, row, widths, strict=True))
        lines.append(_clipped("  ".join(padded).rstrip(), WIDTH))
    for title, items in sections:
        lines += ["", title]
        for item in items:
            lines += textwrap.wrap(item, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def as_html(heading: list[str], body: Rows, sections: Sections, *, passed: bool) -> str:
    """Return the report as part of a page."""
    first, *rest = map(html.escape, heading)
    colour = "#009E73" if passed else "#D55E00"  # as in the pictures
    parts = [f'<p><b style="color: {colour}">{first}</b><br>{"<br>".join(rest)}</p>']
    parts += ["<table>", _row(HEADER, "th"), *(_row(cells, "td") for cells in body), "</table>"]
    for title, items in sections:
        parts.append(f"<p>{title}</p><ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>")
    return "\n".join(parts)


def _row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def as_page(title: str, body: str) -> str:
    """Return a page of its own with this body."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
