"""The code of README, of the pages of docs/ and of the docstrings runs, and prints what they say."""

import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from arrows import modules

import nncore

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
BLOCKS = [  # page and line of the code, the code, what is shown below it
    pytest.param(*block.groups(), id=f"{page}:{text.count(chr(10), 0, block.start()) + 2}")
    for page, text in PAGES.items()
    for block in re.finditer(r"^```python\n(.*?)^```$(?:\n\n```\n(.*?)^```$)?", text, re.DOTALL | re.MULTILINE)
]
CHANGING = r"[\d.]+ ms|\d+ evaluations|.*e-\d\d +ok$|\b\de-(0[89]|[1-9]\d)$"
SOURCES = Path(nncore.__file__).parent
EXAMPLE = re.compile(r"^ +>>> (?!.*\+SKIP)", re.MULTILINE)
MODULES = sorted(name for name, path in modules(SOURCES).items() if EXAMPLE.search(path.read_text("utf-8")))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(f"nncore.{name}".removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(("code", "shown"), BLOCKS)
def test_code_of_a_page(code, shown, tmp_path):
    """It runs, and prints what is shown behind or below it, but for times and what rounding decides."""
    for name in re.findall(r"^import (torch|jax)$", code, re.MULTILINE):
        if not importlib.util.find_spec(name):
            pytest.skip(f"{name} is not installed")
    session = code.startswith(">>>")
    if session:
        (tmp_path / "session.txt").write_text(code, encoding="utf-8")
    run = ["-m", "doctest", "session.txt"] if session else ["-c", code]
    done = subprocess.run(
        [sys.executable, "-W", "error", *run], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in re.findall(r"# prints (.+)", code):
        assert re.search(re.escape(line).replace(r"\.\.\.", ".*"), done.stdout), f"{line!r} is not in {done.stdout!r}"
    if shown:
        printed, expected = (re.sub(CHANGING, "", text, flags=re.M).strip() for text in (done.stdout, shown))
        assert printed == expected


def test_no_code_of_a_page_is_left_out():
    assert len(BLOCKS) >= 14
    assert sum(text.count("```python") for text in PAGES.values()) == len(BLOCKS)
    assert ">>>" not in "".join(re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.M) for text in PAGES.values())


def test_readme_is_short():
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Files are there, those of the root in a checkout only; headings after # have these words."""
    for target in re.findall(r"\]\((?!https?:)(.+?)\)", PAGES[page]):
        name, _, heading = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists() or (path.parent.samefile(ROOT) and not (ROOT / "MANIFEST.in").exists()), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], target


def test_commands_exist():
    """Every nncore command that a page shows parses."""
    from nncore.cli.main import _parser

    pattern = r"^(?:\S+=\S+ )?nncore ((?:train|predict|check|show|export|info)\b.*?)(?: +#.*)?$"
    blocks = [block for text in PAGES.values() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]
    commands = [command for block in blocks for command in re.findall(pattern, block, re.MULTILINE)]
    assert len(commands) >= 13
    for command in commands:
        if "--help" not in command:
            _parser().parse_args(command.split())


def test_contributing_names_files_that_are_there():
    """By path below the package, or by name if there is only one in the tree."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = [path for folder in (SOURCES, ROOT / "nncore_ext", ROOT / "tests") for path in folder.rglob("*.*")]
    names = set(re.findall(r"`([\w/]+\.(?:pyx?|pxd|pyi|h))`", text)) - {"X.pxd", "X.pyx"}
    assert len(names) > 40
    for name in names:
        assert [path for path in files if path.as_posix().endswith(f"/{name}")], name
