"""Tables in text files (.csv, .tsv): cells by column, numbers among them, and errors that name line and column.

Delimiter (comma, semicolon, tab, bar), header and decimal comma are found by evidence from the file. What could be read
in two ways is refused, or said in a note.
"""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ENDINGS = (".csv", ".tsv")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MISSING = frozenset(["", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null"])
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*|,\d+)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)*)?")
_SAMPLE = 50  # records that the delimiter is found by
_ENCODINGS = {  # by the mark that a file begins with; utf-32 first, whose mark begins as utf-16's
    b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # fmt: skip


@dataclass
class Table:
    """The cells of a file.

    Attributes
    ----------
    path : Path
    names : list of str, or None
        Of the columns, if the file has a header.
    rows : list of list of str
        Stripped cells; all rows have the same length.
    lines : list of int
        Where in the file each row begins, from 1.
    may_have_commas : bool
        Whether a cell can have a comma in it.
    notes : list of str
        What a reader should know of how the file was read.
    """

    path: Path
    names: list[str] | None
    rows: list[list[str]]
    lines: list[int]
    may_have_commas: bool
    notes: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    def column(self, k: int) -> str:
        """Return the name of a column for messages."""
        return f"column {self.names[k]}" if self.names else f"column {k + 1}"

    def cells(self, k: int) -> list[str]:
        """One column."""
        return [row[k] for row in self.rows]

    def numbers(self, columns: Sequence[int], *, commas: bool = False) -> Array:
        """Return columns as floats of shape (n_rows, n_columns); true and false are 1 and 0.

        Raises
        ------
        ValueError
            If a cell is not a finite number: names line, cell and column.
        """
        truths = [k for k in columns if _is_truth(self.rows[0][k]) and all(map(_is_truth, self.cells(k)))]
        result = np.empty((len(self.rows), len(columns)))
        for line, row, out in zip(self.lines, self.rows, result, strict=True):
            for k in truths:
                row[k] = "1" if row[k].lower() == "true" else "0"
            values = [row[k].replace(",", ".") for k in columns] if commas else [row[k] for k in columns]
            try:
                out[:] = values
            except ValueError:
                self._refuse(line, row, columns)
                raise
            if not np.isfinite(out).all() or any("_" in value for value in values):  # Python takes 1_000
                self._refuse(line, row, columns)
        return result

    def _refuse(self, line: int, row: list[str], columns: Sequence[int]) -> None:
        """Raise the error of the first cell of a row that is no finite number, if there is one."""
        for k in columns:
            cell, where = row[k], f"{self.path}, line {line} has"
            if is_number(cell) and np.isfinite(float(cell.replace(",", "."))):
                continue
            if _is_special(cell) or is_number(cell):
                way_out = "drop the row or write another value"
                raise ValueError(f"{where} {cell}, expected finite numbers in {self.column(k)}: {way_out}")
            if is_missing(cell):
                way_out = "drop the row or fill in a value"
            elif re.search(r"\d", cell):
                way_out = "write plain ones such as 1234.5, or leave the column out"
            else:
                way_out = "leave the column out, or write its categories as columns of 0 and 1"
            raise ValueError(f"{where} {cell!r}, expected numbers in {self.column(k)}: {way_out}")

    def decimal_commas(self, columns: Iterable[int], expected: bool = False) -> bool:
        """Return whether the comma is the decimal mark in these columns, by all their cells.

        Raises
        ------
        ValueError
            If commas could as well stand between thousands, unless decimal commas are expected, or there are points.
        """
        if not self.may_have_commas:
            return False
        commas, points, decisive = None, None, expected
        for k in columns:
            for line, row in zip(self.lines, self.rows, strict=True):
                cell = row[k]
                if "," in cell and _COMMA.fullmatch(cell):
                    commas = commas or (line, cell)
                    decisive = decisive or not _THOUSANDS.fullmatch(cell)
                elif "." in cell and points is None and _POINT.fullmatch(cell):
                    points = line, cell
        if commas and (points or not decisive):
            line, cell = commas
            also = f" and line {points[0]} {points[1]!r}" if points else ""
            raise ValueError(
                f"{self.path}, line {line} has {cell!r}{also}: a decimal comma, or a separator of thousands? "
                f"Write numbers with a decimal point and nothing between thousands, such as 1234.5"
            )
        return commas is not None


def is_number(text: str) -> bool:
    """Whether a cell is a plain number, with a decimal point or comma; not nan, inf or 1_000."""
    return _NUMBER.fullmatch(text) is not None


def is_missing(text: str) -> bool:
    """Whether a cell is one of the marks by which programs write that there is no value."""
    return text.lower() in MISSING or text in ("None", "NaT")


def _is_special(text: str) -> bool:
    """Whether a cell is a float that is not finite."""
    return re.fullmatch(r"[+-]?(nan|inf|infinity)", text, re.IGNORECASE) is not None


def _is_value(text: str) -> bool:
    """Whether a cell can be data in a column of numbers, but not the name of a column."""
    return is_number(text) or is_missing(text) or _is_special(text) or _is_truth(text)


def _is_truth(text: str) -> bool:
    return text.lower() in ("true", "false")


def read(path: Path, known: Iterable[str] = ()) -> Table:
    """Read a table; a first line that has all the known names is a header.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is empty or no text, rows differ in length, or names of columns are missing or not unique.
    """
    text = _text(path)
    if directive := re.match(r"sep=([,;|\t])(?=\r?\n)", text):  # a first line for Excel
        text = text[directive.end() :]
    delimiter = directive[1] if directive else _delimiter(text)
    try:
        records = list(_records(text, delimiter))
    except csv.Error as error:
        raise ValueError(f"{path} is not a readable .csv file: {error}") from None
    if not records:
        raise ValueError(f"{path} is empty, expected rows of numbers and a label column")
    table = Table(path, None, [], [], "," in text and (delimiter != "," or '"' in text))
    records = _without_empty_end(records, table)
    line, first = records[0]
    if (known and set(known) <= set(first)) or _has_header([cells for _, cells in records]):
        if any(map(is_number, first)):
            table.notes.append(f"{path}: line {line} ({listed(first)}) is taken for the names of the columns")
        table.names = first
        records = records[1:]
    if not records:
        raise ValueError(f"{path} has a header only, expected rows of numbers")
    for i, cells in records:
        if len(cells) != len(first):
            raise ValueError(
                f"{path}, line {i} has {len(cells)} column{'s' * (len(cells) != 1)}, expected {len(first)} as in line "
                f"{line}, separated by {DELIMITERS[delimiter]}"
            )
    table.lines, table.rows = [i for i, _ in records], [cells for _, cells in records]
    _check_blank_lines(table, text)
    _check_names(table)
    return table


def _text(path: Path) -> str:
    data = path.read_bytes()
    encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path} is not a readable .csv file, line {line}: {error}; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path} is not a readable .csv file: line {line} has a zero byte; save it as text in UTF-8")
    return text


def _records(text: str, delimiter: str) -> Iterable[tuple[int, list[str]]]:
    """The lines and cells of all records but blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if len(stripped) > 1 or any(stripped):
                yield line, stripped
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {line}: {error}") from None


def _delimiter(text: str) -> str:
    """Return the delimiter that gives all records as many cells as the first, and most numbers among them."""

    def score(delimiter: str) -> tuple[bool, float, float, int]:
        try:
            records = [cells for _, cells in itertools.islice(_records(text, delimiter), _SAMPLE)]
        except csv.Error:  # a quote that does not end, unless another delimiter fits
            return delimiter in text.split("\n", 1)[0], -1.0, 0.0, 0
        width = len(records[0]) if records else 0
        equal = sum(len(cells) == width for cells in records) / max(len(records), 1)
        cells = list(itertools.chain.from_iterable(records))
        return width > 1, equal, sum(map(is_number, cells)) / max(len(cells), 1), width

    return max(DELIMITERS, key=score)


def _without_empty_end(records: list[tuple[int, list[str]]], table: Table) -> list[tuple[int, list[str]]]:
    """The records without the empty column that a delimiter at the end of all lines makes, or of all but the first."""
    (_, first), rest = records[0], [cells for _, cells in records[1:]]
    if not rest or len(first) < 2 or any(len(cells) != len(rest[0]) for cells in rest):
        return records
    more = len(rest[0]) - len(first)
    empty = first[-1] == "", all(cells[-1] == "" for cells in rest)
    cut_first, cut_rest = {0: (all(empty),) * 2, -1: (empty[0], False), 1: (False, empty[1])}.get(more, (False, False))
    if cut_first and cut_rest:
        table.notes.append(f"{table.path}: the last column is empty and is left out")
    cuts = itertools.chain([cut_first], itertools.repeat(cut_rest))
    return [(i, cells[:-1] if cut else cells) for cut, (i, cells) in zip(cuts, records, strict=False)]


def _has_header(records: list[list[str]]) -> bool:
    """Whether the first record names the columns: a word above a number in one of the columns before the last.

    With nothing but numbers and gaps before the last column it does if it counts the columns, as pandas and R name
    columns without names, or if its last cell is a word that no other row has.
    """
    first, rest = records[0], records[1:]
    body = first[:-1] or first
    words = [k for k, cell in enumerate(body) if not _is_value(cell)]
    if not words:
        return _numbers_name_columns(first, rest)
    if any(is_number(cell) and not cell.isdecimal() for cell in body):
        return False  # 0.5 is no name: a row with a word in it, which will be refused
    over_values = any(len(cells) > k and _is_value(cells[k]) for k in words for cells in rest)
    return over_values or len(words) == len(body)


def _numbers_name_columns(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a record of numbers is a header: 0, 1, 2, ... or 1, 2, 3, ..., or with a name for the label."""
    cells = first[1:] if first[0] == "" and len(first) > 1 else first
    labels = {record[-1] for record in rest}
    named_label = not _is_value(cells[-1]) and cells[-1] not in labels
    numbers = cells[:-1] if named_label else cells
    if named_label and len(labels) < len(rest) and len(set(cells)) == len(cells):
        return all(map(str.isdecimal, numbers))  # else the label of one row only
    counted = any(numbers == [str(i) for i in range(start, start + len(numbers))] for start in (0, 1))
    return counted and (len(numbers) > 2 or len(cells) < len(first) or (named_label and len(numbers) > 1))


def _check_blank_lines(table: Table, text: str) -> None:
    """Refuse blank lines within a table of one column, where each stands for a missing value."""
    if table.width > 1 or '"' in text:
        return
    for line, following in itertools.pairwise(table.lines):
        if following != line + 1:
            raise ValueError(
                f"{table.path}, line {line + 1} is blank, expected a number: drop the line or fill in a value"
            )


def _check_names(table: Table) -> None:
    """Leave out an index without a name; then all columns have names, each its own."""
    names, path = table.names, table.path
    if not names:
        return
    while len(names) > 1 and _UNNAMED.fullmatch(names[0]):
        called = f"the name {names[0]!r}" if names[0] else "no name"
        table.notes.append(f"{path}: the first column has {called} and is left out: an index, as pandas writes it")
        names, table.rows = names[1:], [row[1:] for row in table.rows]
    table.names = names
    if "" in names:
        before = f" after {names[names.index('') - 1]}" if names.index("") else ""
        raise ValueError(f"{path} has a column without a name{before}, expected a name for each, or no header")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns named {twice[0]!r}, expected names that differ")


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
