"""Print the package's import arrows that run upward and its circles: python tests/arrows.py [a tree's src/nncore].

Every import counts, those for types and on first use included, as the syntax tree has them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

# From the ground up: a package imports none that comes later, in any way.
ORDER = (
    "core", "functions", "differences", "data", "plotting", "model", "files", "checking", "training", "network",
    "estimators", "book", "testing", "losses", "metrics", "datasets", "__init__", "cli", "__main__",
)  # fmt: skip


def module_of(path: Path, package: Path) -> str:
    """The dotted name below nncore; of a package's own file, the package."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def modules(package: Path) -> dict[str, Path]:
    """All Python files by module."""
    return {module_of(path, package): path for path in sorted(package.rglob("*.py"))}


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The modules of nncore that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [one if one.removeprefix("nncore.") in known else node.module for one in inside]
        for name in names:
            if name == "nncore":
                yield "__init__"
            elif name.startswith("nncore."):
                yield name.removeprefix("nncore.")


def arrows(package: Path) -> dict[str, set[str]]:
    """The modules that each module imports."""
    files = modules(package)
    return {name: set(imported(path, set(files))) - {name} for name, path in files.items()}


def room(module: str) -> int:
    """The place of a module's package in the order."""
    return ORDER.index(module.partition(".")[0])


def upward(found: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows to a later package."""
    return sorted((a, b) for a, targets in found.items() for b in targets if b in found and room(b) > room(a))


def circles(found: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other, in any number of steps."""
    reached = {name: set(targets) & set(found) for name, targets in found.items()}
    for middle in found:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    around = {name: frozenset(other for other in reached[name] if name in reached[other]) for name in found}
    return sorted(map(sorted, {circle for circle in around.values() if len(circle) > 1}))


def main(package: Path) -> None:
    """Print both, with their counts."""
    found = arrows(package)
    if all(module.partition(".")[0] in ORDER for module in found):
        rising = upward(found)
        print(f"{len(rising)} upward arrows of {sum(map(len, found.values()))}")
        for a, b in rising:
            print(f"  {a} -> {b}")
    around = circles(found)
    print(f"{len(around)} circles")
    for circle in around:
        print(f"  {', '.join(circle)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "src" / "nncore"))
