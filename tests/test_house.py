"""The house keeps its order: who imports whom, what importing costs, what the levels are."""

import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import arrows
import pytest

import nncore
from nncore.core import dispatch, threads

PACKAGE = Path(nncore.__file__).parent
CORE = Path(__file__).parents[1] / "nncore_ext"

# The compiled core from the ground up: a kernel includes none that comes later, nor does the folder of a header.
KERNELS = (
    "watch", "alignment",
    "arithmetic.vmath", "arithmetic.product",
    "layers.activation", "layers.batch_norm", "layers.dense", "layers.dropout", "layers.loss",
    "samples.rows", "samples.arrays",
    "network.network", "network.penalty", "network.passes",
    "training.optimizer", "training.update", "training.batch", "training.sparse_layer", "training.blocks",
    "training.dense_steps", "training.sparse_steps", "training.online", "training.online_steps",
    "differences.probe_base", "differences.probe_losses", "differences.probe", "differences.probe_blocks",
    "differences.callback",
)  # fmt: skip
FOLDERS = (*dict.fromkeys(name.partition(".")[0] for name in KERNELS), "engine")


def test_no_import_runs_upward():
    """Of any kind: for a type, and on first use, as well."""
    found = arrows.arrows(PACKAGE)
    assert arrows.upward(found) == []
    assert arrows.circles(found) == []
    assert {name.partition(".")[0] for name in found} == set(arrows.ORDER)


def test_an_upward_import_and_a_circle_are_seen(tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "a.py").write_text("def f():\n    from nncore.core import b\n")
    (tmp_path / "core" / "b.py").write_text("if TYPE_CHECKING:\n    from nncore.core.a import f\n")
    (tmp_path / "core" / "c.py").write_text("import nncore.cli\nfrom nncore import metrics\n")
    (tmp_path / "metrics.py").write_text("")
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__init__.py").write_text("")
    found = arrows.arrows(tmp_path)
    assert arrows.upward(found) == [("core.c", "cli"), ("core.c", "metrics")]
    assert arrows.circles(found) == [["core.a", "core.b"]]


# Files of the package and of the core that have more lines, and why: none.
LONG = {}
MOST_LINES = 400


def sources():
    """All files of the package and of the core."""
    kinds = (".py", ".pyi", ".pyx", ".pxd", ".pxi", ".h")
    return [path for folder in (PACKAGE, CORE) for path in folder.rglob("*") if path.suffix in kinds]


def test_no_file_is_long():
    long = {path.name for path in sources() if len(path.read_text("utf-8").splitlines()) > MOST_LINES}
    assert long == set(LONG)
    assert len(LONG) <= 5


def test_docstrings_say_first_what_a_thing_is_or_does():
    vague = re.compile(r'"""(What|That)\b')
    assert [path.name for path in sources() if vague.search(path.read_text("utf-8"))] == []


def cimported(path):
    """The kernels that a file of the core includes."""
    return set(re.findall(r"nncore_ext\.([\w.]+)", path.read_text()))


def test_kernels_include_downwards():
    files = {".".join(path.relative_to(CORE).with_suffix("").parts): path for path in CORE.rglob("*.pxd")}
    files = {name: path for name, path in files.items() if not name.startswith("declarations.")}  # of others' code
    assert set(files) == set(KERNELS)
    for name, path in files.items():
        assert cimported(path) <= set(KERNELS[: KERNELS.index(name)]), name


def test_faces_stand_above_their_kernels():
    """A face in a folder shows kernels of that folder and of those below."""
    for path in CORE.glob("*/*.pyx"):
        below = FOLDERS[: FOLDERS.index(path.parent.name) + 1]
        assert {name.partition(".")[0] for name in cimported(path)} <= set(below), path.name
        for other in cimported(path):
            assert other in KERNELS


def test_headers_include_downwards():
    for path in CORE.glob("*/*.h"):
        below = FOLDERS[: FOLDERS.index(path.parent.name) + 1]
        assert set(re.findall(r'#include "(\w+)/', path.read_text())) <= set(below), path.name


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def loaded(use, *modules):
    """Which of these modules are there after import and use."""
    return python(f"import sys, nncore; {use}; print([m for m in {modules} if m in sys.modules])").stdout


def test_import_loads_nothing_heavy():
    assert loaded("pass", "scipy", "sklearn", "matplotlib", "tqdm", "pooch", "onnx", "safetensors") == "[]\n"


def test_first_use_loads_no_more_than_blas():
    assert loaded("nncore.sigmoid(0)", "sklearn", "matplotlib", "scipy.optimize", "tqdm", "pooch") == "[]\n"


@pytest.mark.parametrize("level", dispatch.USABLE)
def test_a_level_can_be_forced(level):
    done = python("import nncore; nncore.show_config()", NNCORE_LEVEL=level)
    assert re.search(rf"^level +{level} ", done.stdout, re.MULTILINE)
    assert level == "baseline" or "-march=" + level.replace("_", "-") in done.stdout


def test_an_unknown_level_is_refused():
    done = python("import nncore; nncore.sigmoid(0)", NNCORE_LEVEL="avx9000")
    assert "NNCORE_LEVEL is 'avx9000', expected one of x86_64_v4, x86_64_v3, baseline, or unset" in done.stderr


@pytest.mark.skipif(dispatch.USABLE == ("baseline",), reason="only baseline is built or runs here")
def test_a_level_that_is_not_built_is_refused():
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if "._x86_64" in name else find(name)
import nncore
nncore.sigmoid(0)
"""
    done = python(code, NNCORE_LEVEL=dispatch.USABLE[0])
    assert "but nncore was built for baseline: unset it, or build nncore from source with NNCORE_LEVELS=" in done.stderr


def test_levels_agree_to_rounding():
    code = """
import numpy as np, nncore
(x, t), _ = nncore.load_moons()
net = nncore.NeuralNetwork([nncore.Layer(2, 25, "sigmoid"), nncore.Layer(25, 2, "tanh")], rng=0)
net.fit(x, t, batch_size=7, iterations=200, rng=0, progress=False)
print(" ".join(map(repr, net.core.params.tolist())))
"""
    first, *others = ([float(v) for v in python(code, NNCORE_LEVEL=level).stdout.split()] for level in dispatch.USABLE)
    for other in others:
        assert other == pytest.approx(first, rel=1e-10, abs=1e-12)


def test_number_of_threads_from_the_environment():
    code = "from nncore.core.threads import choices; print(choices('auto', 10**9), choices('auto', 10))"
    assert python(code, NNCORE_NUM_THREADS="3").stdout in ("(1, 3) (1,)\n", "(1,) (1,)\n")
    assert python(code, NNCORE_NUM_THREADS="1").stdout == "(1,) (1,)\n"
    assert "NNCORE_NUM_THREADS is 'x', expected a whole number" in python(code, NNCORE_NUM_THREADS="x").stderr


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, threads.MAX_THREADS),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, threads.MAX_THREADS),
        ({"cpu.max": "?"}, threads.MAX_THREADS),
        ({}, threads.MAX_THREADS),
    ],
)
def test_limits_of_containers(files, cpus, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == cpus


def test_waiting_threads_soon_sleep():
    """Unless the user has chosen, and without a trace in the environment that other libraries and processes see."""
    code = "import os, nncore.core.dispatch; print([name for name in os.environ if name[:5] in ('GOMP_', 'OMP_W')])"
    done = python(code, OMP_DISPLAY_ENV="verbose")
    assert done.stdout == "[]\n"
    if "GOMP_SPINCOUNT" in done.stderr:  # GNU's OpenMP says what it has read
        assert "GOMP_SPINCOUNT = '5000'" in done.stderr
        assert "GOMP_SPINCOUNT = '7'" in python(code, OMP_DISPLAY_ENV="verbose", GOMP_SPINCOUNT="7").stderr
    assert python(code, OMP_WAIT_POLICY="active").stdout == "['OMP_WAIT_POLICY']\n"


@pytest.mark.parametrize("how", [*multiprocessing.get_all_start_methods(), "loky", "threads"])
def test_pools_of_workers_train_the_same(how, tmp_path):
    """A parent that has used its threads has others train, processes and threads: the same bits, no hang."""
    script = tmp_path / "pool.py"
    script.write_text("""
import sys, warnings
import numpy as np
import nncore

def train(seed):
    rng = np.random.default_rng(0)
    x, t = rng.random((300, 400)), rng.integers(3, size=300)
    layers = [nncore.Layer(400, 200, "relu"), nncore.Layer(200, 3)]
    net = nncore.NeuralNetwork(layers, loss="softmax_cross_entropy", rng=seed)
    net.fit(x, t, batch_size=150, epochs=3, n_threads=2, rng=1, progress=False)
    others = [nncore.NeuralNetwork([nncore.Layer(400, 3)], rng=i) for i in range(3)]
    nncore.fit_many(others, x, t, n_jobs=2, epochs=1, rng=0, progress=False)
    return [one.core.params for one in (net, *others)]

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    expected = [train(seed) for seed in range(4)]
    how = sys.argv[1]
    if how == "loky":
        from joblib import Parallel, delayed
        found = Parallel(n_jobs=2, backend="loky")(delayed(train)(seed) for seed in range(4))
    elif how == "threads":
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(train, range(4)))
    else:
        import multiprocessing
        with multiprocessing.get_context(how).Pool(2) as pool:
            found = pool.map(train, range(4))
    print(all(np.array_equal(a, b) for one, other in zip(found, expected) for a, b in zip(one, other)))
""")
    done = subprocess.run([sys.executable, script, how], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "2,4"}, 2),
        ({"OMP_THREAD_LIMIT": "1"}, 1),
        ({"OMP_NUM_THREADS": "many"}, 3),  # OpenMP says so and goes by the CPUs
        ({"OMP_NUM_THREADS": "1", "NNCORE_NUM_THREADS": "2"}, 2),
        ({}, 3),
    ],
)
def test_limits_that_others_set_are_heard(environment, expected):
    code = """
from threadpoolctl import threadpool_limits
from nncore.core import threads
if "NNCORE_NUM_THREADS" not in __import__("os").environ:
    threads.cpus = lambda: 3
def ask(): return threads.choices("auto", 10**12)[-1]
print(ask(), threads.choices(2, 10**12)[-1])
with threadpool_limits(1):
    print(ask())
"""
    from nncore.core.dispatch import network

    given = {"OMP_DYNAMIC": "false", **environment}
    if not any(name.startswith("OMP_NUM") for name in given) or given.get("OMP_NUM_THREADS") == "many":
        expected = min(expected, network.openmp_threads())
    if not network.has_openmp():
        assert python(code, **given).stdout == "1 1\n1\n"
        return
    limited = expected if "NNCORE_NUM_THREADS" in environment else 1
    assert python(code, **given).stdout == f"{expected} 2\n{limited}\n"


def test_the_limit_of_lokys_workers_is_heard():
    code = """
from joblib import Parallel, delayed, parallel_config
def ask():
    from nncore.core import threads
    return threads.choices("auto", 10**12)
with parallel_config("loky", inner_max_num_threads=1):
    print(Parallel(2)(delayed(ask)() for _ in range(2)))
"""
    assert python(code).stdout == "[(1,), (1,)]\n"


def test_blas_threads_are_restored():
    """At the level that leaves products to BLAS, from any Python thread; the others do not touch it."""
    code = """
from threading import Thread
from threadpoolctl import threadpool_info
import nncore
from nncore.core.blas import single_threaded_blas
def blas(): return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
def hold():
    with single_threaded_blas(1 << 30), single_threaded_blas(1 << 30):
        print(set(blas()) == {1}, blas() == before)
    print(blas() == before)
nncore.sigmoid(0)
before = blas()
hold()
other = Thread(target=hold)
other.start()
other.join()
"""
    assert python(code, NNCORE_LEVEL="baseline", OPENBLAS_NUM_THREADS="2").stdout == "True False\nTrue\n" * 2
    widest = dispatch.USABLE[0]
    if widest != "baseline":
        assert python(code, NNCORE_LEVEL=widest, OPENBLAS_NUM_THREADS="2").stdout == "False True\nTrue\n" * 2


def test_every_public_name_is_there_and_documented():
    for name in nncore.__all__:
        value = getattr(nncore, name)
        assert name == "__version__" or (value.__doc__ and value.__module__.startswith("nncore."))
    assert set(dir(nncore)) == set(nncore.__all__)


@pytest.mark.parametrize("name", ["datasets", "losses", "metrics", "plotting", "testing"])
def test_public_modules_are_there_without_an_import(name):
    assert python(f"import nncore; print(nncore.{name}.__name__)").stdout == f"nncore.{name}\n"


def test_version_is_the_distributions():
    from importlib.metadata import PackageNotFoundError, version

    try:
        assert version("nncore") == nncore.__version__
    except PackageNotFoundError:
        assert "src" in str(PACKAGE)  # run from the source tree
