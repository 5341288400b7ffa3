"""Tables in text files: every usual dialect gives the numbers that were written, and what is doubtful is refused."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncore.cli import advice, sources
from nncore.data import tables

ROWS = [f"{i % 2 + 0.25 * (i % 3)},{1 - i % 2 + 0.125 * (i % 5)},{'xy'[i % 2]}" for i in range(30)]


def table(tmp_path, text, known=()):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tables.read(path, known)


def load(tmp_path, text, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return sources.load(str(path), **options)


def joined(header, rows=ROWS):
    return "\n".join([header, *rows]) + "\n"


@st.composite
def dialects(draw):
    """How one program or another writes a table, with numbers that all dialects can hold."""
    delimiter = draw(st.sampled_from(",;\t|"))
    commas = draw(st.booleans()) if delimiter != "," else False
    return {
        "delimiter": delimiter, "commas": commas,
        "names": draw(st.sampled_from(["words", "spaces", "numbers", "none"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "line_end": draw(st.sampled_from(["\n", "\r\n", "\r"])), "last_end": draw(st.booleans()),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])),
        "index": draw(st.booleans()), "trailing": draw(st.booleans()), "blank": draw(st.booleans()),
        "form": draw(st.sampled_from([".4f", ".9e", "+.4f"])), "spaces": draw(st.booleans()),
    }  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(d=dialects(), width=st.integers(2, 4), n=st.integers(2, 8), seed=st.integers(0, 1000))
def test_every_dialect_gives_the_numbers_written(d, width, n, seed, tmp_path_factory):
    x = np.round(np.random.default_rng(seed).normal(size=(n, width)) * 10, 4)
    header = {
        "words": [f"größe {k}" for k in range(width)], "spaces": [f" a_{k} " for k in range(width)],
        "numbers": [str(k) for k in range(width)] if width > 2 else None, "none": None,
    }[d["names"]]  # fmt: skip
    cells = [[format(v, d["form"]) for v in row] for row in x]
    if d["commas"]:
        cells = [[cell.replace(".", ",") for cell in row] for row in cells]
    records = ([header] if header else []) + cells
    if d["index"] and header:
        records = [[str(i - 1) if i else "", *record] for i, record in enumerate(records)]
    if d["trailing"] and header:
        records = [[*record, ""] for record in records]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=d["delimiter"], quoting=d["quoting"], lineterminator="\n")
    writer.writerows(records)
    lines = text.getvalue().splitlines()
    if d["spaces"]:
        lines = [line.replace(d["delimiter"], d["delimiter"] + " ") for line in lines]
    if d["blank"]:
        lines = ["", lines[0], "", *lines[1:], "", ""]
    content = d["line_end"].join(lines) + d["line_end"] * d["last_end"]
    path = tmp_path_factory.getbasetemp() / "dialect.csv"
    path.write_bytes(content.encode(d["encoding"]))
    read = tables.read(path)
    assert read.names == ([name.strip() for name in header] if header else None)
    columns = range(width)
    np.testing.assert_array_equal(read.numbers(columns, commas=read.decimal_commas(columns)), x)
    content_lines = content.replace(d["line_end"], "\n").split("\n")
    first = cells[0][0]
    assert first in content_lines[read.lines[0] - 1]


@pytest.mark.parametrize("options", [{}, {"index": False}, {"sep": ";", "decimal": ","}, {"quoting": csv.QUOTE_ALL}])
def test_what_pandas_writes(tmp_path, options):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=["a", "b, in cm", "c"])
    path = tmp_path / "t.csv"
    frame.to_csv(path, **options)
    read = tables.read(path)
    assert read.names == list(frame)
    commas = read.decimal_commas(range(3))
    assert commas == ("decimal" in options)
    np.testing.assert_array_equal(read.numbers(range(3), commas=commas), frame.to_numpy())


NAMES = {
    joined("a,b,kind"): ["a", "b", "kind"],
    joined("a, b, kind"): ["a", "b", "kind"],
    "\n".join(ROWS): None,
    joined("0,1,2"): ["0", "1", "2"],  # pandas, of an array
    joined("1,2,3"): ["1", "2", "3"],
    joined(",0,1,2", [f"{i},{row}" for i, row in enumerate(ROWS)]): ["0", "1", "2"],
    joined("Unnamed: 0,a,b,kind", [f"{i},{row}" for i, row in enumerate(ROWS)]): ["a", "b", "kind"],
    joined("2020,2021,kind"): ["2020", "2021", "kind"],
    joined('"","a","b","kind"', [f'"{i}",{row}' for i, row in enumerate(ROWS)]): ["a", "b", "kind"],  # R
    "0,1\n1,0\n1,1\n0,0\n": None,
    "5,7,rose\n1,2,tulip\n3,4,daisy\n": None,
    "5,5,rose\n1,2,tulip\n3,4,tulip\n": None,  # names differ
    "1.5,2.5,rose\n1,2,tulip\n3,4,tulip\n": None,
    "sep=;\r\na;b;kind\r\n1,5;2;x\r\n": ["a", "b", "kind"],  # Excel's first line
    "True,1,x\nFalse,2,y\nTrue,3,x\n": None,
    "flag,size,kind\nTrue,1,x\nFalse,2,y\n": ["flag", "size", "kind"],
    "?,3,x\n1,2,y\n5,6,x\n": None,  # a gap is no name
    "inf,3,x\n1,2,y\n5,6,x\n": None,
    "rose,1.5,2.0\ntulip,1.0,2.5\n": None,  # no name is 1.5
    "color,shape,kind\nred,round,x\nblue,square,y\n": ["color", "shape", "kind"],
}


@pytest.mark.parametrize("text", NAMES)
def test_header(tmp_path, text):
    read = table(tmp_path, text)
    assert read.names == NAMES[text]
    named_by_numbers = bool(read.names) and any(map(str.isdigit, read.names))
    assert named_by_numbers == any("taken for the names of the columns" in note for note in read.notes)


def test_known_names_make_a_header(tmp_path):
    """Names that a model knows, or that are asked for, are no data."""
    assert table(tmp_path, "0,1\n5,6\n").names is None
    assert table(tmp_path, "1,0\n5,6\n", known=["0", "1"]).names == ["1", "0"]


def test_an_index_is_left_out_with_a_word(tmp_path):
    source = load(tmp_path, joined(",a,b,kind", [f"{i},{row}" for i, row in enumerate(ROWS)]))
    assert source.columns == ["a", "b", "kind"]
    assert source.n_in == 2
    assert "the first column has no name and is left out" in source.notes[0]
    source = load(tmp_path, joined("id,a,b,kind", [f"{i},{row}" for i, row in enumerate(ROWS)]))
    assert source.n_in == 3
    assert source.notes == [f"{tmp_path / 't.csv'}: column id counts the rows: leave it out if it is an index"]


REFUSED = {
    "sep=;\na;b\n1;?\n": "line 3 has no label",
    joined("a,a,kind"): "has two columns named 'a'",
    joined("a,,kind"): "has a column without a name after a",
    joined("a,b,kind", [*ROWS, "1,2"]): "line 32 has 2 columns, expected 3 as in line 1, separated by commas",
    joined("a,b,kind", [*ROWS, "1,2,x,4"]): "line 32 has 4 columns, expected 3",
    joined("a;b;kind", ["1;2;x", "1,2,x"]): "line 3 has 1 column, expected 3 as in line 1, separated by",
    joined("a,b,kind", [*ROWS, "1,?,x"]): "line 32 has '?', expected numbers in column b: drop the row or fill",
    joined("a,b,kind", [*ROWS, ",2,x"]): "line 32 has '', expected numbers in column a",
    joined("a,b,kind", [*ROWS, "1,N/A,x"]): "line 32 has 'N/A', expected numbers in column b: drop the row",
    joined("a,b,kind", [*ROWS, "1,nan,x"]): "line 32 has nan, expected finite numbers in column b",
    joined("a,b,kind", [*ROWS, "inf,1,x"]): "line 32 has inf, expected finite numbers in column a",
    joined("a,b,kind", [*ROWS, "1e999,1,x"]): "line 32 has 1e999, expected finite numbers in column a",
    joined("a,b,kind", [*ROWS, "5%,1,x"]): "line 32 has '5%', expected numbers in column a: write plain ones such as",
    joined("a,b,kind", [*ROWS, "2020-01-31,1,x"]): "has '2020-01-31', expected numbers in column a: write plain",
    joined("a,b,kind", [*ROWS, "1_000,1,x"]): "line 32 has '1_000', expected numbers in column a",  # float() takes it
    joined("a,b,kind", [*ROWS, "0x10,1,x"]): "has '0x10', expected numbers in column a",
    joined("a,b,kind", [*ROWS, "1 000,1,x"]): "has '1 000', expected numbers in column a",
    joined("a,b,kind", [*ROWS, "12 kg,1,x"]): "has '12 kg', expected numbers in column a",
    joined("a,b,kind", [*ROWS, "red,1,x"]): "has 'red', expected numbers in column a: leave the column out, or write",
    joined("a,b,kind", [*ROWS, "True,1,x"]): "has 'True', expected numbers in column a",
    joined("a,b,kind", ['"1,000",2,x', '"2,500",3,y']): "line 2 has '1,000': a decimal comma, or a separator of",
    joined("a;b;kind", ["1,234;2;x", "2,500;3;y"]): "line 2 has '1,234': a decimal comma, or",
    joined("a;b;kind", ["1,5;2;x", "2;3.5;y"]): "line 2 has '1,5' and line 3 '3.5': a decimal comma, or",
    joined("a;b;kind", ["1.234,5;2;x", "2;3;y"]): "line 2 has '1.234,5', expected numbers in column a",
    joined("a,b,kind", ['1,2,"x\n\ny"', '3,?,"x\r\nz"']): "line 5 has '?', expected numbers in column b",
    'a,b,kind\n1,"2,x\n3,4,y\n': "line 2: unexpected end of data",
    joined("a,b,kind", [*ROWS, '1,"2"3,x']): "line 32: ',' expected after '\"'",
    "a b kind\n1 2 x\n": "has one column, expected features and a label column, separated by commas, semicolons, tabs",
    joined("a,größe,kind").encode("latin-1"): "line 1: 'utf-8' codec can't decode byte 0xf6 in position 4",
    joined("a,b,kind").encode("utf-16-le"): "line 1 has a zero byte; save it as text in UTF-8",
    b"\xff\xfe\x00": "not a readable .csv file",
    "": "is empty",
    "\n \n": "is empty",
    "a,b,kind\n": "has a header only",
    "red,1,2\nblue,3,4\n": "line 1 has 'red', expected numbers in column 1",
    joined("a,b,kind", [*ROWS, "1,2,"]): "line 32 has no label, expected one in column kind: drop such rows",
    joined("a,b,kind", [*ROWS, "5,6,nan", "7,8,NA"]): "lines 32 and 33 have no label ('NA', 'nan'), expected one in",
    joined("a,b,kind", [*ROWS, *["1,2,?"] * 9]): "lines 32, 33, 34, 35, 36 and 4 more have no label ('?'), expected",
    joined("a,b,kind", [f"{i},2,item {i}" for i in range(20)]): "has 20 different labels in 20 rows of column kind",
    joined("a,y", [f"{i},{i + 0.5}" for i in range(30)] + ["3,12 kg"]): "line 32 has '12 kg', expected numbers in",
    joined("a,b,kind", ["1,2,x"] * 9): "has the label x only, expected two classes",
    joined("a,b,kind", ["1,2,1.0", "1,2,1"] * 9): "has the label 1 only, expected two classes",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_refused_with_the_place(tmp_path, text):
    with pytest.raises(ValueError, match=r"^" + str(tmp_path / "t.csv")) as error:
        load(tmp_path, text)
    assert REFUSED[text] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", [joined("a, b, kind"), joined(" a , kind ,b", [f"{i},{'xy'[i % 2]},{i}" for i in range(30)])]
)
def test_a_label_is_named_without_the_spaces_around_it(tmp_path, text):
    source = load(tmp_path, text, label="kind")
    assert (source.label, source.classes, source.n_in) == ("kind", ["x", "y"], 2)
    with pytest.raises(ValueError, match=r"--label is 'type', but .* has a, "):
        load(tmp_path, text, label="type")


def test_blank_lines_are_gaps_of_a_single_column(tmp_path):
    with pytest.raises(ValueError, match="line 3 is blank, expected a number"):
        table(tmp_path, "a\n1\n\n3\n")
    assert table(tmp_path, "a\n1\n3\n\n").rows == [["1"], ["3"]]


def test_a_delimiter_at_the_end_of_lines(tmp_path):
    rows = [row + "," for row in ROWS]
    for text in (joined("a,b,kind,", rows), joined("a,b,kind", rows), joined("a,b,kind,")):
        source = load(tmp_path, text)
        assert (source.n_in, source.classes, source.label) == (2, ["x", "y"], "kind")


def test_truth_values_are_0_and_1(tmp_path):
    read = table(tmp_path, "a,b\nTrue,1\nfalse,2\nTRUE,3\n")
    np.testing.assert_array_equal(read.numbers([0, 1]), [[1, 1], [0, 2], [1, 3]])


CLASSES = {
    "word": (["x", "y"], ["x", "y"]),
    "leading zeros": (["007", "07"], ["007", "07"]),
    "zeros of all lengths": (["00501", "90210"], ["00501", "90210"]),
    "zero itself": (["0", "1"], ["0", "1"]),
    "floats": (["1.0", "2.0"], ["1", "2"]),
    "more digits than a float keeps": (["9007199254740992", "9007199254740993"],) * 2,
    "negative": (["-1", "1"], ["-1", "1"]),
    "signs": (["+", "-"], ["+", "-"]),
    "in the order of numbers": (["10", "9"], ["9", "10"]),
    "truth": (["True", "False"], ["False", "True"]),
    "none of it": (["none", "mild"], ["mild", "none"]),
    "spaces": ([" x", "x y "], ["x", "x y"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_names_of_classes(tmp_path, name):
    labels, classes = CLASSES[name]
    source = load(tmp_path, joined("a,b,kind", [f"{i},2,{labels[i % 2]}" for i in range(20)]))
    assert source.classes == classes
    stripped = [label.strip() for label in labels]
    for x, t in zip(np.r_[source.x_train, source.x_test], np.r_[source.t_train, source.t_test], strict=True):
        assert float(stripped[int(x[0]) % 2] == classes[t]) or float(stripped[int(x[0]) % 2]) == float(classes[t])


rng = np.random.default_rng(0)
TASKS = {
    "prices, each its own": ([100000 + 1000 * i for i in range(30)], 0),
    "a few prices": ([10 * i * i for i in range(8)], 0),
    "prices with repetitions": (rng.integers(100, 400, 200) * 1000, 0),
    "diabetes' progression": (rng.integers(25, 347, 442), 0),
    "ages": (18 + rng.integers(0, 60, 3000), 0),
    "years": (1922 + rng.integers(0, 90, 3000), 0),
    "counts of rented bicycles": (rng.geometric(0.01, 2000), 0),
    "two classes": (rng.integers(0, 2, 30), 2),
    "minus and plus": (2 * rng.integers(0, 2, 30) - 1, 2),
    "digits": (np.arange(300) % 10, 10),
    "quality of wine": (3 + np.arange(60) % 6, 6),
    "letters": (np.arange(600) % 26, 26),
    "forty faces of ten pictures": (np.arange(400) % 40, 40),
    "a hundred things": (1 + np.arange(5000) % 100, 100),
    "three of three rows and more": (np.arange(9) % 3, 3),
    "fractions": (rng.normal(size=30), 0),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_labels_are_taken_for(tmp_path, name):
    y, n_classes = TASKS[name]
    text = joined("a,y", [f"{0.5 * (i % 7)},{v}" for i, v in enumerate(y)])
    source = load(tmp_path, text)
    assert len(source.classes) == n_classes
    said = " ".join([*source.notes, source.labels])
    assert ("--task classes" in said) == (n_classes == 0 and name != "fractions")
    assert ("--task numbers" in said) == (n_classes > 0)
    if name != "fractions":
        assert len(load(tmp_path, text, task="classes").classes) == len(set(map(int, y)))
    assert load(tmp_path, text, task="numbers").classes == []


def test_labels_that_must_be_numbers(tmp_path):
    with pytest.raises(ValueError, match="line 2 has 'x', expected numbers in column kind"):
        load(tmp_path, joined("a,b,kind", ["1,2,x", "1,2,3"] * 9), task="numbers")


def test_a_rare_class_is_said(tmp_path):
    (note,) = load(tmp_path, joined("a,b,kind", [*ROWS, "1,2,z"])).notes
    assert "the class z, too few to learn it" in note


SIZES = {
    "column area (about 3.": "area,b,kind\n" + "".join(f"{i % 7 * 1e5},{i % 2},{'xy'[i % 2]}\n" for i in range(30)),
    "column a (about 0.00": "a,b,kind\n" + "".join(f"{i % 7 * 1e-4},{i % 2},{'xy'[i % 2]}\n" for i in range(30)),
    "column a (about 67), column b (about 0.0": (
        "a,b,kind\n" + "".join(f"{i % 2 * 80 + 10},{i % 3 * 0.01},{'xy'[i % 2]}\n" for i in range(30))
    ),
    "the targets have the mean 15": "a,y\n" + "".join(f"{i % 10},{1000.5 + 100 * (i % 10)}\n" for i in range(30)),
}  # fmt: skip


@pytest.mark.parametrize("expected", SIZES)
def test_sizes_that_a_network_does_not_learn_from_are_said(tmp_path, expected):
    (note,) = advice.on_scales(load(tmp_path, SIZES[expected]))
    assert expected in note
    assert "standardise" in note
    assert advice.on_scales(load(tmp_path, joined("a,b,kind"))) == []
