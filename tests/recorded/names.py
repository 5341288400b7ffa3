"""Record the public names and signatures: python tests/recorded/names.py."""

import importlib
import inspect
import json
import re
from pathlib import Path

import nncore

MODULES = ("losses", "testing", "plotting", "datasets")


def members(value):
    """A class's public attributes with their signatures."""
    for name in sorted(dir(value)):
        if not name.startswith("_"):
            attribute = inspect.getattr_static(value, name)
            attribute = getattr(attribute, "__func__", attribute)
            yield name, signature(attribute) if callable(attribute) else "attribute"


def signature(value):
    """How it is called, without annotations (which name modules) and addresses."""
    try:
        given = inspect.signature(value)
    except ValueError:
        return "builtin"
    bare = [
        one.replace(annotation=inspect.Parameter.empty)
        for name, one in given.parameters.items()
        if name not in ("self", "cls")
    ]
    return re.sub(" at 0x[0-9a-f]+", "", str(inspect.Signature(bare)))


def found():
    result = {}
    for name in sorted(nncore.__all__):
        value = getattr(nncore, name)
        if callable(value):
            result[f"nncore.{name}"] = signature(value)
        if inspect.isclass(value):
            result |= {f"nncore.{name}.{member}": how for member, how in members(value)}
    for module in MODULES:
        there = importlib.import_module(f"nncore.{module}")
        for name, value in sorted(vars(there).items()):
            public = name in getattr(there, "__all__", ()) or getattr(value, "__module__", "") == there.__name__
            if callable(value) and public and not name.startswith("_"):
                result[f"nncore.{module}.{name}"] = signature(value)
    return result


if __name__ == "__main__":
    text = json.dumps(found(), indent=0)
    (Path(__file__).parent / "names.json").write_text(text + "\n")
