"""python -m benchmarks: measure jobs, print a table each, keep the figures as JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import chart, many, report
from benchmarks.harness import Row, Settings, measure
from benchmarks.jobs import JOBS
from benchmarks.peers import PEERS
from benchmarks.problem import DTYPES, Job

DESCRIPTION = """\
Measure nncore beside its peers, in one run and by turns.

Every peer first trains from the same start on the same samples, or predicts or finds the
slopes there. One that ends elsewhere than NumPy in float64 is shown as "differs" and
gets no time. Times of a busy machine are noise; what counts is the ratio of two of them
from one run.
"""
EXAMPLES = """\
examples:
  python -m benchmarks moons mnist --json figures.json
  python -m benchmarks --write docs/benchmarks
  python -m benchmarks moons --peers nncore numpy --dtype float64 --repeats 3

MNIST is read as nncore.load_mnist does: from the folder in NNCORE_DATA, or downloaded.
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """A type for arguments that are names."""

    def check(name: str) -> str:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is unknown, expected one of {', '.join(known)}")
        return name

    return check


def at_least(smallest: float, kind: type, what: str) -> Callable[[str], Any]:
    """A type for arguments that are numbers."""

    def check(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not smallest <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} given, expected {what} of {smallest} or more")
        return value

    return check


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    jobs = "\n".join(f"  {job.name:<13} {job.title}" for job in JOBS.values())
    parser = Parser(
        prog="python -m benchmarks",
        description=f"{DESCRIPTION}\njobs:\n{jobs}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    settings = Settings()
    parser.add_argument(
        "jobs",
        nargs="*",
        metavar="JOB",
        type=one_of(JOBS),
        default=tuple(JOBS),
        help=f"{', '.join(JOBS)}; default: all",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write machine, versions and all figures to FILE")
    parser.add_argument(
        "--write", metavar="FOLDER", type=Path, help="write a page of tables, a picture and the figures into FOLDER"
    )
    parser.add_argument(
        "--repeats", metavar="N", type=at_least(1, int, "a whole number"), default=settings.repeats,
        help="how often each peer gets its turn; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", metavar="S", type=at_least(0, float, "a number"), default=settings.seconds,
        help="about how long a repeat takes, an epoch at least; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="+", metavar="NAME", type=one_of(PEERS), default=settings.peers,
        help=f"some of {', '.join(PEERS)}; default: all, those that are not installed are named",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=(*DTYPES, "both"), default="both", help="default: %(default)s")
    args = parser.parse_args(arguments)
    try:  # before minutes are spent, not after
        if args.write:
            args.write.mkdir(parents=True, exist_ok=True)
        if args.json:
            args.json.open("a").close()
    except OSError as error:
        parser.error(f"argument --{'json' if args.json else 'write'}: {error}")
    return args


def measured(job: Job, settings: Settings) -> list[Row]:
    """The rows of a job's table."""
    return many.measure(job, settings) if job.name == "many" else measure(job, settings)


def write(folder: Path, env: dict[str, Any], results: list[tuple[Job, list[Row]]], settings: Settings) -> None:
    """README.md, jobs.png and figures.json."""
    (folder / "README.md").write_text(report.markdown(env, results, settings), encoding="utf-8")
    chart.draw(results).savefig(folder / report.PICTURE, dpi=150)
    (folder / "figures.json").write_text(as_json(env, results, settings), encoding="utf-8")


def as_json(env: dict[str, Any], results: list[tuple[Job, list[Row]]], settings: Settings) -> str:
    """Machine, versions and all figures."""
    jobs = [report.job_as_dict(job, rows) for job, rows in results]
    content = {**env, "settings": asdict(settings), "jobs": jobs}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 if a job or a peer did not do what it should."""
    args = parse(arguments)
    settings = Settings(
        peers=tuple(dict.fromkeys(args.peers)),
        dtypes=DTYPES if args.dtype == "both" else (args.dtype,),
        repeats=args.repeats,
        seconds=args.seconds,
    )
    env = report.environment(settings.peers)
    print(report.heading(env), flush=True)
    results: list[tuple[Job, list[Row]]] = []
    failed = False
    for name in dict.fromkeys(args.jobs):
        try:
            rows = measured(JOBS[name], settings)
        except (OSError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"\n{report.table(JOBS[name], rows, settings)}", flush=True)
        results.append((JOBS[name], rows))
    if args.json:
        args.json.write_text(as_json(env, results, settings), encoding="utf-8")
    if args.write:
        write(args.write, env, results, settings)
    return int(failed or any(row.status in ("differs", "failed") for _, rows in results for row in rows))


if __name__ == "__main__":
    sys.exit(main())
