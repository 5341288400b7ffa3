"""The benchmark harness: what it refuses, what it names, what it writes. Never how long anything takes."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import nncore

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the harness is run from the root of the repository, and not installed

from benchmarks import peers, report, scaling  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.harness import TOLERANCE, deviation  # noqa: E402
from benchmarks.jobs import JOBS  # noqa: E402
from benchmarks.peers import PEERS, Entry, Outcome, numpy_reference  # noqa: E402
from benchmarks.problem import Problem  # noqa: E402

sys.path.remove(str(ROOT))

QUICK = ("--repeats", "2", "--seconds", "0")


def measured(tmp_path, *arguments):
    """Exit code and JSON of a quick run."""
    file = tmp_path / "figures.json"
    code = main([*arguments, *QUICK, "--json", str(file)])
    return code, json.loads(file.read_text(encoding="utf-8"))


def add_peer(monkeypatch, name, jobs):
    """Put a peer into the table for this test."""
    module = ModuleType(f"benchmarks.peers.{name}_peer")
    module.version = lambda: f"{name} 1.0"
    module.JOBS = jobs
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(PEERS, name, f"{name}_peer")


def spoiled(spoil):
    """An entry for moons whose outcome is the reference's, spoiled."""

    def prepare(problem, threads):
        run = numpy_reference.moons(problem, threads)
        return lambda steps: spoil(run(steps), problem)

    return {"moons": Entry(prepare)}


@pytest.fixture
def small_mnist(monkeypatch):
    """Random pixels and labels in the place of MNIST: 300 images, 3 iterations an epoch."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (300, 784), dtype=np.uint8), rng.integers(0, 10, 300, dtype=np.uint8)
    monkeypatch.setattr(nncore, "load_mnist", lambda normalize: (train, None))


def check_rows(rows, epoch):
    """All rows have figures, agree with the reference, and are compared with nncore's first of their type."""
    for row in rows:
        assert row["status"] == "ok", row
        assert row["deviation"] <= TOLERANCE[row["dtype"]]
        assert len(row["times_us"]) == 2
        assert 0 < row["min_us"] <= row["median_us"] == pytest.approx(np.median(row["times_us"]))
        assert row["steps"] == epoch  # with --seconds 0
        assert row["threads"] >= 1
    for dtype in TOLERANCE:
        ours, *others = (row for row in rows if row["dtype"] == dtype)
        assert ours["peer"] == "nncore"
        assert ours["ratio"] == 1
        assert all(row["ratio"] == pytest.approx(row["median_us"] / ours["median_us"]) for row in others)


def test_moons_json_and_table(tmp_path, capsys):
    code, content = measured(tmp_path, "moons", "--peers", "nncore", "numpy")
    assert code == 0
    assert set(content) == {"machine", "nncore", "versions", "settings", "jobs"}
    assert set(content["machine"]) == {"cpu", "cpus", "system"}
    assert {"level", "threads"} <= set(content["nncore"])
    assert set(content["versions"]) == {"python", "nncore", "numpy"}
    assert content["settings"] == {
        "peers": ["nncore", "numpy"], "dtypes": ["float32", "float64"], "repeats": 2, "seconds": 0
    }  # fmt: skip
    (job,) = content["jobs"]
    assert (job["job"], job["unit"]) == ("moons", "µs per step")
    assert [(row["peer"], row["dtype"]) for row in job["rows"]] == [
        ("nncore", "float32"), ("numpy", "float32"), ("nncore", "float64"), ("numpy", "float64")
    ]  # fmt: skip
    check_rows(job["rows"], 1400)
    printed = capsys.readouterr().out
    assert content["nncore"]["level"] in printed
    assert all(version in printed for version in content["versions"].values())
    assert "x slower than nncore" in printed


def test_mnist_agrees_in_both_types(small_mnist, tmp_path):
    code, content = measured(tmp_path, "mnist", "--peers", "nncore", "numpy")
    assert code == 0
    rows = content["jobs"][0]["rows"]
    check_rows(rows, 3)
    assert [row["peer"] for row in rows] == ["nncore", "nncore", "numpy"] * 2
    assert [(row["threads_asked"], row["threads"]) for row in rows[:2]] == [(None, rows[0]["threads"]), (1, 1)]


def test_real_mnist_as_command(mnist_dir):
    command = (sys.executable, "-m", "benchmarks", "mnist", "--dtype", "float32", "--peers", "nncore", "numpy", *QUICK)
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "NNCORE_NUM_THREADS": "1"}  # no waiting for others at work here
    environ = {**os.environ, **one_thread, "NNCORE_DATA": str(mnist_dir)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "differs" not in done.stdout
    assert done.stdout.count("float32") == 3


@pytest.fixture
def small_gradcheck(monkeypatch):
    """A network of 265 parameters on 12 samples."""
    rng = np.random.default_rng(0)
    data = rng.random((12, 40)), rng.integers(10, size=12)
    small = replace(JOBS["gradcheck"], sizes=(40, 5, 10), batch_size=12, load=lambda: data)
    monkeypatch.setitem(JOBS, "gradcheck", small)


def test_gradcheck_agrees_and_scales_what_is_sampled(small_gradcheck, tmp_path, capsys):
    code, content = measured(tmp_path, "gradcheck", "--peers", "nncore", "numpy", "scipy")
    assert code == 0
    (job,) = content["jobs"]
    rows = job["rows"]
    assert [(row["peer"], row["dtype"], row["threads_asked"]) for row in rows] == [
        ("nncore", "float64", None), ("nncore", "float64", 1), ("numpy", "float64", None), ("scipy", "float64", None)
    ]  # fmt: skip
    sampled = (100 + 5 + 50 + 10) / 265
    assert [row["part"] for row in rows] == [1, 1, sampled, sampled]
    for row in rows:
        assert row["status"] == "ok", row
        assert row["deviation"] <= (1e-5 if row["peer"] == "scipy" else 1e-9)
        assert len(row["times_us"]) == 2
        assert row["ratio"] == pytest.approx(row["median_us"] / rows[0]["median_us"])
    assert rows[-1]["deviation"] > 1e-9, "forward differences are that far off"
    printed = capsys.readouterr().out
    assert "ms per gradient" in printed
    assert "extrapolated" in printed


def test_gradcheck_of_torch_agrees(small_gradcheck, tmp_path):
    pytest.importorskip("torch")
    code, content = measured(tmp_path, "gradcheck", "--peers", "nncore", "torch")
    assert code == 0
    assert [row["part"] for row in content["jobs"][0]["rows"]] == [1, 1, 65 / 265, 65 / 265]


def test_part_of_the_work_is_scaled_to_all_of_it(monkeypatch, tmp_path):
    def entry(part):
        def prepare(problem, threads):
            return lambda steps: time.sleep(0.01) or Outcome(0.0, [], 1, part)

        return {"gradcheck": Entry(prepare, comparable=False)}

    add_peer(monkeypatch, "sampled", entry(1 / 1000))
    _, content = measured(tmp_path, "gradcheck", "--peers", "sampled")
    assert content["jobs"][0]["rows"][0]["min_us"] >= 1000 * 0.01 * 1e6


def test_slopes_off_by_more_than_the_limit_differ(small_gradcheck, monkeypatch, tmp_path):
    def prepare(problem, threads):
        run = numpy_reference.gradcheck(problem, threads)

        def spoiled_run(steps):
            outcome = run(steps)
            outcome.params[1][2] += 2e-9
            return outcome

        return spoiled_run

    add_peer(monkeypatch, "wrong", {"gradcheck": Entry(prepare, limit=1e-9)})
    code, content = measured(tmp_path, "gradcheck", "--peers", "wrong")
    (row,) = content["jobs"][0]["rows"]
    assert (code, row["status"], row["times_us"]) == (1, "differs", [])
    assert row["deviation"] == pytest.approx(2e-9)


def test_job_without_the_float_type_says_so(tmp_path, capsys):
    code, content = measured(tmp_path, "gradcheck", "--dtype", "float32", "--peers", "nncore")
    assert (code, content["jobs"]) == (1, [])
    assert capsys.readouterr().err == "gradcheck: is measured in float64, not in float32\n"


def bias_kept(outcome, problem):
    start = [a for layer in problem.start() for a in layer]
    return outcome._replace(params=[*outcome.params[:7], start[7]])


WRONG = {
    "a bias not updated": bias_kept,
    "another loss": lambda outcome, problem: outcome._replace(loss=2 * outcome.loss),
    "one NaN": lambda outcome, problem: outcome._replace(params=[*outcome.params[:7], np.array([np.nan, 1])]),
    "all NaN": lambda outcome, problem: outcome._replace(params=[a * np.nan for a in outcome.params]),
    "loss not finite": lambda outcome, problem: outcome._replace(loss=np.inf),
    "W transposed": lambda outcome, problem: outcome._replace(params=[a.T for a in outcome.params]),
    "a layer too few": lambda outcome, problem: outcome._replace(params=outcome.params[:-2]),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_wrong_peer_differs_and_is_not_timed(spoil, monkeypatch, tmp_path, capsys):
    add_peer(monkeypatch, "wrong", spoiled(spoil))
    code, content = measured(tmp_path, "moons", "--dtype", "float32", "--peers", "nncore", "wrong")
    ours, wrong = content["jobs"][0]["rows"]
    assert code == 1
    assert ours["status"] == "ok"
    assert wrong["status"] == "differs"
    assert (wrong["times_us"], wrong["min_us"], wrong["median_us"], wrong["ratio"]) == ([], None, None, None)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong"))
    assert "differs: " in line


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_limits_tell_rounding_from_a_learning_rate_one_percent_off(dtype):
    job = JOBS["moons"]
    problem = Problem(job, *job.load(), np.dtype(dtype))
    reference = numpy_reference.moons(replace(problem, dtype=np.dtype(np.float64)), None)(problem.epoch)

    def distance(problem):
        return deviation(peers.load("nncore").JOBS["moons"].prepare(problem, None)(problem.epoch), reference)

    assert distance(problem) <= TOLERANCE[dtype]
    assert distance(replace(problem, job=replace(job, lr=1.01 * job.lr))) > TOLERANCE[dtype]


def test_incomparable_peer_is_timed_unchecked_with_its_note(monkeypatch, tmp_path, capsys):
    def prepare(problem, threads):
        return lambda steps: Outcome(np.nan, [], 1)

    add_peer(monkeypatch, "other", {"moons": Entry(prepare, comparable=False, note="a start of its own")})
    code, content = measured(tmp_path, "moons", "--dtype", "float64", "--peers", "other")
    (row,) = content["jobs"][0]["rows"]
    assert code == 0
    assert (row["status"], row["deviation"], row["ratio"]) == ("ok", None, None)
    assert len(row["times_us"]) == 2
    assert "[1] a start of its own" in capsys.readouterr().out


def test_peer_not_installed_and_peer_without_the_job_are_named_as_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.torch_eager", raising=False)
    add_peer(monkeypatch, "idle", {})
    code, content = measured(tmp_path, "moons", "--dtype", "float64", "--peers", "nncore", "torch", "idle")
    assert code == 0
    assert set(content["versions"]) == {"python", "nncore", "idle"}
    ours, *missing = content["jobs"][0]["rows"]
    assert ours["status"] == "ok"
    assert [(row["peer"], row["status"], row["times_us"]) for row in missing] == [
        ("torch", "missing", []), ("idle", "missing", [])
    ]  # fmt: skip
    assert "torch" in missing[0]["reason"]
    assert missing[1]["reason"] == "has no version of moons"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines if "missing" in line] == [
        ["torch", "float64", "missing:"], ["idle", "float64", "missing:"]
    ]  # fmt: skip


def test_failing_peer_is_named_and_the_others_are_measured(monkeypatch, tmp_path):
    def prepare(problem, threads):
        raise RuntimeError("no such device\nand a trace")

    add_peer(monkeypatch, "broken", {"moons": Entry(prepare)})
    code, content = measured(tmp_path, "moons", "--dtype", "float32", "--peers", "broken", "nncore")
    broken, ours = content["jobs"][0]["rows"]
    assert code == 1
    assert (broken["status"], broken["reason"]) == ("failed", "RuntimeError: no such device")
    assert ours["status"] == "ok"


def test_repeats_take_turns(monkeypatch, tmp_path):
    calls = []

    def recorder(name):
        def prepare(problem, threads):
            return lambda steps: calls.append(name) or Outcome(0.0, [], 1)

        return {"moons": Entry(prepare, comparable=False)}

    for name in "abc":
        add_peer(monkeypatch, name, recorder(name))
    measured(tmp_path, "moons", "--dtype", "float64", "--peers", "a", "b", "c")
    assert "".join(calls).endswith("abcabc")


def test_data_not_there_loses_no_other_job(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NNCORE_DATA", str(tmp_path / "nowhere"))
    code, content = measured(tmp_path, "mnist", "moons", "--dtype", "float32", "--peers", "nncore")
    assert code == 1
    assert [job["job"] for job in content["jobs"]] == ["moons"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist: NNCORE_DATA names ")


BAD = {
    ("chess",): "'chess' is unknown, expected one of moons, mnist",
    ("moons", "--peers", "caffe"): "'caffe' is unknown, expected one of nncore, numpy,",
    ("moons", "--repeats", "0"): "'0' given, expected a whole number of 1 or more",
    ("moons", "--seconds", "nan"): "'nan' given, expected a number of 0 or more",
    ("moons", "--dtype", "int8"): "int8",
    ("moons", "--json", "no/such/folder/f.json"): "no/such/folder/f.json",
    ("moons", "--write", "/dev/null/folder"): "/dev/null/folder",
}


@pytest.mark.parametrize(("arguments", "message"), BAD.items(), ids=map(" ".join, BAD))
def test_bad_arguments_are_one_line_and_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_help_names_the_jobs_and_peers(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(job.title in printed for job in JOBS.values())
    assert all(name in printed for name in PEERS)


def test_every_peer_has_its_file():
    files = {file.stem for file in (ROOT / "benchmarks" / "peers").glob("*.py")} - {"__init__"}
    assert files == set(PEERS.values())


def test_both_types_start_from_the_same_numbers():
    job = JOBS["moons"]
    single, double = (Problem(job, *job.load(), np.dtype(dtype)).start() for dtype in ("float32", "float64"))
    for layer, other in zip(single, double, strict=True):
        for a, b in zip(layer, other, strict=True):
            assert (a.dtype, b.dtype) == (np.float32, np.float64)
            np.testing.assert_array_equal(a, b)


PREDICTIONS = ("predict-small", "predict", "predict-many")


@pytest.fixture
def small_jobs(monkeypatch):
    """The deeper networks, predictions and online updates on a few samples."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 12), dtype=np.uint8), rng.integers(3, size=40)
    for name in ("medium", "wide"):
        small = replace(JOBS[name], sizes=(12, 8, 7, 3), batch_size=8, check=4, load=lambda: pixels)
        monkeypatch.setitem(JOBS, name, small)
    for name in PREDICTIONS:
        n_in, batch = JOBS[name].sizes[0], 20 if name == "predict-many" else 1
        data = rng.random((20, n_in)), np.zeros(20, np.intp)
        monkeypatch.setitem(JOBS, name, replace(JOBS[name], batch_size=batch, load=lambda data=data: data))
    moons = rng.random((30, 2)), rng.integers(2, size=30)
    for name in ("online", "many"):
        monkeypatch.setitem(JOBS, name, replace(JOBS[name], load=lambda: moons))


def without(monkeypatch, name):
    """As with an nncore that has no such name."""
    monkeypatch.setattr(nncore, "__all__", [other for other in nncore.__all__ if other != name])


NEW_PEERS = {
    "numpy": ("medium", "wide", *PREDICTIONS, "online"),
    "sklearn": ("medium", "wide", *PREDICTIONS, "online"),
    "torch": ("medium", "wide", *PREDICTIONS, "online"),
    "jax": ("medium", "wide", *PREDICTIONS),
    "onnxruntime": PREDICTIONS,
}


@pytest.mark.filterwarnings("ignore")  # of foreign packages
@pytest.mark.parametrize("peer", NEW_PEERS)
def test_new_jobs_agree_with_the_reference(peer, small_jobs, tmp_path):
    for package in {"onnxruntime": ("onnx", "onnxruntime")}.get(peer, (peer,)):
        pytest.importorskip(package)
    code, content = measured(tmp_path, *NEW_PEERS[peer], "--peers", peer)
    assert code == 0
    for job in content["jobs"]:
        for row in job["rows"]:
            assert row["status"] == "ok", row
            unchecked = row["peer"] == "floor" or (peer == "sklearn" and job["job"] in ("medium", "wide"))
            assert (row["deviation"] is None) == unchecked
            assert unchecked or row["deviation"] <= (JOBS[job["job"]].tolerance or 1e-4)


def test_nncore_agrees_in_the_new_jobs_or_is_named_as_missing(small_jobs, tmp_path):
    code, content = measured(tmp_path, "medium", "wide", *PREDICTIONS, "online", "--peers", "nncore")
    assert code == 0
    rows = [(job["job"], row) for job in content["jobs"] for row in job["rows"] if row["peer"] == "nncore"]
    assert all(row["status"] == "ok" for name, row in rows if name in ("wide", "online"))
    assert {row["reason"] for _, row in rows} <= {"", "has no Adam", "predict has no out"}
    assert next(row["status"] for name, row in rows if name == "predict") == "ok"


def test_nncore_without_adam_and_fit_many_is_named_as_missing(small_jobs, monkeypatch, tmp_path):
    without(monkeypatch, "Adam")
    without(monkeypatch, "fit_many")
    code, content = measured(tmp_path, "medium", "many", "--peers", "nncore")
    medium, many = content["jobs"]
    assert code == 0
    assert [row["reason"] for row in medium["rows"]] == ["has no Adam"] * 2 + [""] * 2
    assert many["rows"][3]["reason"] == "nncore has no fit_many"
    assert many["rows"][3]["times_us"] == []


def test_packages_for_predictions_that_are_not_installed_are_named(small_jobs, monkeypatch, tmp_path):
    for package, module in (("onnx", "onnx_session"), ("fann2", "fann_incremental")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"benchmarks.peers.{module}", raising=False)
    _, content = measured(tmp_path, "predict", "--peers", "onnxruntime", "fann")
    assert [row["status"] for row in content["jobs"][0]["rows"]] == ["missing"] * 2
    assert [name in row["reason"] for name, row in zip(("onnx", "fann2"), content["jobs"][0]["rows"], strict=True)]


def faster(problem):
    return replace(problem, job=replace(problem.job, lr=1.05 * problem.job.lr, draw=more_weight(problem.job.draw)))


def more_weight(draw):
    return lambda rng, n_in, n_out: tuple(1.001 * a for a in draw(rng, n_in, n_out))


@pytest.mark.parametrize("name", ["medium", "wide", *PREDICTIONS, "online"])
def test_a_wrong_peer_is_found_in_every_new_job(name, small_jobs, monkeypatch, tmp_path):
    def prepare(problem, threads):
        return numpy_reference.JOBS[name].prepare(faster(problem), threads)

    add_peer(monkeypatch, "wrong", {name: Entry(prepare)})
    code, content = measured(tmp_path, name, "--peers", "wrong")
    row = content["jobs"][0]["rows"][0]
    assert (code, row["status"], row["times_us"]) == (1, "differs", [])


def test_adam_of_the_reference_is_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours, grads = rng.normal(size=5), rng.normal(size=(20, 5))
    theirs = torch.from_numpy(ours.copy())
    optimizers = numpy_reference.Adam([ours], 1e-3), torch.optim.Adam([theirs], 1e-3)
    for grad in grads:
        optimizers[0].update([grad])
        theirs.grad = torch.from_numpy(grad)
        optimizers[1].step()
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-13)


def test_floor_stands_in_the_table_whatever_peers_are_asked(small_jobs, tmp_path, capsys):
    _, content = measured(tmp_path, "wide", "--peers", "nncore")
    ours, _, floor, floor_1 = content["jobs"][0]["rows"]
    assert [row["peer"] for row in (floor, floor_1)] == ["floor"] * 2
    assert ours["over_floor"] == pytest.approx(ours["median_us"] / floor["median_us"])
    assert floor["over_floor"] == floor_1["over_floor"] == 1
    assert "x floor" in capsys.readouterr().out


def test_shuffled_batches_are_those_of_fit():
    job = replace(JOBS["wide"], batch_size=4, load=None)
    problem = Problem(job, np.zeros((12, 784)), np.zeros(12, np.intp), np.dtype(np.float32))
    batches = problem.batches(7)
    assert batches.shape == (7, 4)
    assert sorted(batches[:3].ravel()) == sorted(batches[3:6].ravel()) == list(range(12))
    assert (batches[:3] != batches[3:6]).any()


def test_many_compares_threads_and_fit_many(small_jobs, monkeypatch, tmp_path):
    def fit_many(networks, X, y, **settings):
        for net in networks:
            net.fit(X, y, **settings)

    monkeypatch.setattr(nncore, "__all__", [*nncore.__all__, "fit_many"])
    monkeypatch.setattr(nncore, "fit_many", fit_many, raising=False)
    code, content = measured(tmp_path, "many")
    one, two, in_turn, together = content["jobs"][0]["rows"]
    assert code == 0
    assert two["ratio"] == pytest.approx(two["median_us"] / one["median_us"])
    assert together["ratio"] == pytest.approx(together["median_us"] / in_turn["median_us"])
    assert (one["ratio"], in_turn["ratio"]) == (None, None)


def test_fit_many_that_trains_otherwise_is_not_timed(small_jobs, monkeypatch, tmp_path):
    monkeypatch.setattr(nncore, "__all__", [*nncore.__all__, "fit_many"])
    monkeypatch.setattr(nncore, "fit_many", lambda networks, X, y, **settings: None, raising=False)
    code, content = measured(tmp_path, "many")
    row = content["jobs"][0]["rows"][3]
    assert (code, row["status"], row["times_us"]) == (1, "differs", [])


def test_written_page_has_the_numbers_and_names_the_missing(small_jobs, monkeypatch, tmp_path):
    without(monkeypatch, "Adam")
    folder = tmp_path / "new" / "folder"
    jobs = ("medium", "predict", "many")
    assert main([*jobs, "--peers", "nncore", "numpy", *QUICK, "--write", str(folder)]) == 0
    page = (folder / "README.md").read_text(encoding="utf-8")
    content = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert [job["job"] for job in content["jobs"]] == list(jobs)
    for job in content["jobs"]:
        assert f"## {job['job']}" in page
        for row in job["rows"]:
            if row["status"] == "ok":
                assert f" {report._number(row['median_us'], 1)} |" in page
    assert "Not measured: nncore (has no Adam)" in page
    assert all(version in page for version in content["versions"].values())
    assert (folder / report.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_without_a_job_all_are_measured(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr("benchmarks.__main__.measured", lambda job, settings: seen.append(job.name) or [])
    assert main(["--peers", "numpy"]) == 0
    assert seen == list(JOBS)


def test_slope_is_the_exponent():
    values = [2, 4, 8, 16]
    assert scaling.slope(values, [3 * v**1.7 for v in values]) == pytest.approx(1.7)
    assert scaling.slopes(values, [5, 5, 8**2, 16**2])[1] == pytest.approx(2)


def test_scaling_writes_slopes_cliffs_and_picture(monkeypatch, tmp_path, capsys):
    few = [replace(axis, values=axis.values[:4]) for axis in scaling.AXES]
    monkeypatch.setattr(scaling, "AXES", few)
    monkeypatch.setattr(scaling, "CLIFFS", ((16, 64), (32, 64)))
    monkeypatch.setattr(scaling, "cliff", lambda n, *rest: (1.0, 1.5, 1.5) if n == 16 else (1.0, 1.25, 1.25))
    assert scaling.main(["--repeats", "1", "--seconds", "0", "--write", str(tmp_path)]) == 0
    page = (tmp_path / "scaling.md").read_text(encoding="utf-8")
    assert page.count("slope") == 4
    assert "| 64 | 16 | 1 | 1.5 | 1.50 | a cliff |" in page
    assert "| 64 | 32 | 1 | 1.25 | 1.25 |  |" in page
    assert page.splitlines()[-1] in capsys.readouterr().out
    assert (tmp_path / scaling.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_cliff_is_the_ratio_of_neighbouring_repeats():
    first, second, ratio = scaling.cliff(2, 1, repeats=1, seconds=0)
    assert ratio == pytest.approx(second / first)
