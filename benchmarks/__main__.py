"""python -m benchmarks: measure jobs, print a table each, keep the figures as JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import report
from benchmarks.harness import Row, Settings, measure
from benchmarks.jobs import DTYPES, JOBS
from benchmarks.peers import PEERS

DESCRIPTION = """\
Measure nncore beside its peers, in one run and by turns.

Every peer first trains for an epoch from the same start on the same samples, or finds
the slopes there. One that ends elsewhere than NumPy in float64 is shown as "differs" and
gets no time. Times of a busy machine are noise; what counts is the ratio of two of them
from one run.
"""
EXAMPLES = """\
examples:
  python -m benchmarks moons mnist --json figures.json
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
    jobs = "\n".join(f"  {job.name:<9} {job.title}" for job in JOBS.values())
    parser = Parser(
        prog="python -m benchmarks",
        description=f"{DESCRIPTION}\njobs:\n{jobs}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    settings = Settings()
    parser.add_argument("jobs", nargs="+", metavar="JOB", type=one_of(JOBS), help=", ".join(JOBS))
    parser.add_argument("--json", metavar="FILE", type=Path, help="write machine, versions and all figures to FILE")
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
    if args.json:
        try:
            args.json.open("a").close()  # before minutes are spent, not after
        except OSError as error:
            parser.error(f"argument --json: {error}")
    return args


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
    results: list[dict[str, Any]] = []
    all_rows: list[Row] = []
    failed = False
    for name in dict.fromkeys(args.jobs):
        try:
            rows = measure(JOBS[name], settings)
        except (OSError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"\n{report.table(JOBS[name], rows, settings)}", flush=True)
        results.append(report.job_as_dict(JOBS[name], rows))
        all_rows += rows
    if args.json:
        content = {**env, "settings": asdict(settings), "jobs": results}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        args.json.write_text(f"{text}\n", encoding="utf-8")
    return int(failed or any(row.status in ("differs", "failed") for row in all_rows))


if __name__ == "__main__":
    sys.exit(main())
