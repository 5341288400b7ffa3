"""README's code and the examples of the docstrings run, and print what they say."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from arrows import modules

import nncore

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CHANGING = r"[\d.]+ ms|\d+ evaluations|.*e-\d\d +ok$"
SOURCES = Path(nncore.__file__).parent
EXAMPLE = re.compile(r"^ +>>> (?!.*\+SKIP)", re.MULTILINE)
MODULES = sorted(name for name, path in modules(SOURCES).items() if EXAMPLE.search(path.read_text("utf-8")))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(f"nncore.{name}".removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(("code", "shown"), re.findall(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", README, re.DOTALL))
def test_readme_code(code, shown, tmp_path):
    """It runs, and prints what is shown behind or below it, but for times and what rounding decides."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in re.findall(r"# prints (.+)", code):
        assert re.search(re.escape(line).replace(r"\.\.\.", ".*"), done.stdout), f"{line!r} is not in {done.stdout!r}"
    if shown:
        printed, expected = (re.sub(CHANGING, "", text, flags=re.M).strip() for text in (done.stdout, shown))
        assert printed == expected


def test_readme_commands_exist():
    """Every nncore command that README shows parses."""
    from nncore.cli.main import _parser

    commands = re.findall(
        r"^(?:\S+=\S+ )?nncore ((?:train|predict|check|show|export|info)\b.*?)(?: +#.*)?$", README, re.MULTILINE
    )
    assert len(commands) >= 4
    for command in commands:
        if "--help" not in command:
            _parser().parse_args(command.split())
