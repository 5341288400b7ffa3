"""The house keeps its order: who imports whom, what importing costs, what the levels are."""

import ast
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nncore
from nncore.core import _cpu
from nncore.core import threads as _threads

PACKAGE = Path(nncore.__file__).parent
CORE = Path(__file__).parents[1] / "nncore_ext"

# Downwards only: what each module may import, on first use too.
PYTHON = {
    "__init__": {"*"},
    "__main__": {"cli"},
    "_mapped": set(),
    "_frames": set(),
    "_domains": {"_dispatch", "_mapped"},
    "_sparse_rows": {"_dispatch"},
    "_memory": set(),
    "_watch": set(),
    "_checks": {"_frames", "_mapped", "_memory"},
    "_settings": set(),
    "_notices": set(),
    "_inputs": {"_checks", "_mapped", "_notices", "network"},  # network only for its type
    "_divergence": {"_checks", "_data", "_mapped", "network"},  # these two only for their types
    "_dispatch": {"_cpu", "_checks", "_threads", "_baseline"},
    "_threads": {"_checks", "_dispatch"},
    "functions": {"_checks", "_dispatch", "_domains"},
    "_callbacks": {"_dispatch"},
    "_evaluation": {"_callbacks", "_checks", "_dispatch", "_threads", "_watch"},
    "_schemes": {"_checks"},
    "_differences": {"_checks", "_dispatch", "_evaluation", "_schemes"},
    "_noise": {"_evaluation"},
    "_slopes": {"_evaluation", "_noise"},
    "_evidence": {"_slopes"},
    "_directions": {"_evaluation", "_evidence", "_noise", "_slopes"},
    "_second": {"_checks", "_directions", "_evaluation", "_noise"},
    "_detailed": {"_checks", "_differences", "_directions", "_evaluation", "_noise", "_slopes"},
    "gradient": {"_checks", "_detailed", "_differences", "_evaluation", "_second"},
    "optimizers": {"_checks", "_settings", "_dispatch"},
    "layers": {"_checks", "_settings", "_dispatch", "network"},  # network only for its type
    "history": {"plotting"},  # on first use
    "schedules": {"_checks", "_settings"},
    # network only for its type
    "_data": {"_checks", "_dispatch", "_domains", "_inputs", "_mapped", "_sparse_rows", "network"},
    "_scoring": {"_data", "metrics", "network"},  # network only for its type
    "metrics": {"_checks", "_settings", "_data", "functions", "schedules", "network"},
    "_epoch_end": {"history", "metrics", "schedules", "network"},
    "training": {
        "_checks",
        "_data",
        "_dispatch",
        "_divergence",
        "_epoch_end",
        "_inputs",
        "_mapped",
        "_notices",
        "_threads",
        "history",
        "metrics",
        "optimizers",
        "schedules",
        "network",  # its type
        "checkpoint",  # these two on first use
        "lbfgs",
    },
    "lbfgs": {
        "_checks",
        "_data",
        "_divergence",
        "_epoch_end",
        "_inputs",
        "_mapped",
        "_threads",
        "history",
        "metrics",
        "network",
        "optimizers",
        "training",
    },
    "_atomic": {"_checks"},
    "_formats": set(),
    "_tensors": {"_checks", "_formats"},
    "_resume": {"_checks", "_dispatch", "layers", "optimizers", "training"},  # training only for its type
    # training only for its type
    "checkpoint": {
        "_atomic",
        "_checks",
        "_mapped",
        "_resume",
        "_sparse_rows",
        "_tensors",
        "optimizers",
        "persistence",
        "training",
    },
    "callbacks": {"_atomic", "_checks", "_settings", "history"},
    "losses": {"_checks", "_dispatch", "_domains"},
    "_python_engine": {"_checks", "_differences", "_dispatch", "losses"},
    "network": {
        "_checks",
        "_settings",
        "_dispatch",
        "_divergence",
        "_domains",
        "_inputs",
        "_mapped",
        "_python_engine",
        "_scoring",
        "_sparse_rows",
        "_threads",
        "functions",
        "history",
        "layers",
        "metrics",
        "optimizers",
        "schedules",
        "training",
        "persistence",
        "export",
    },
    "population": {
        "_checks",
        "_data",
        "_notices",
        "_threads",
        "history",
        "metrics",
        "network",
        "optimizers",
        "schedules",
        "training",
    },
    "_epochs": {
        "_checks",
        "_data",
        "_divergence",
        "_notices",
        "_perceptron",
        "_threads",
        "network",
        "optimizers",
    },  # _perceptron only for its type
    "_perceptron": {
        "_checks",
        "_data",
        "_divergence",
        "_epochs",
        "_notices",
        "_sparse_rows",
        "_threads",
        "layers",
        "lbfgs",
        "network",
    },
    "estimators": {"_checks", "_data", "_domains", "_perceptron", "network"},
    "persistence": {"_atomic", "_checks", "_formats", "_inputs", "_tensors", "layers", "network"},
    "_c_header": {"_checks", "layers", "network"},  # for their types
    "export": {"_c_header", "_checks", "_formats", "_tensors", "layers", "network", "persistence"},
    "book": {"_checks", "history", "layers", "network"},
    "idx": set(),
    "datasets": {"idx"},
    "_arrangements": {"_diagnosis"},  # only for its type
    "_diagnosis": {"_arrangements"},
    "_tape": {"_evaluation"},
    "_variants": {"_tape"},
    "_experiment": {"_diagnosis", "_evaluation", "_tape"},
    "_batch_parts": {"_experiment", "_tape", "_variants"},
    "_trace": {"_batch_parts", "_diagnosis", "_experiment", "_tape", "_variants"},
    "report": {"_checks", "_diagnosis", "_evidence", "_slopes", "plotting"},  # plotting on first use
    "_check_function": {
        "_callbacks",
        "_checks",
        "_directions",
        "_evaluation",
        "_evidence",
        "_noise",
        "_slopes",
        "_trace",
        "_watch",
        "report",
    },
    "_check_network": {
        "_check_function",
        "_checks",
        "_directions",
        "_evaluation",
        "_evidence",
        "_python_engine",
        "_slopes",
        "layers",
        "network",
        "report",
    },
    "plotting": {"_checks", "gradient", "history", "report"},
    "gradcheck": {
        "_check_function",
        "_check_network",
        "_checks",
        "_evaluation",
        "_evidence",
        "book",
        "network",
        "report",
    },
    "testing": {"gradcheck", "report"},
    "npz": set(),
    "tables": set(),
    "_targets": {"_checks", "tables"},
    "_advice": {"sources", "tables"},  # sources only for its type
    "sources": {"_advice", "_checks", "_targets", "datasets", "npz", "tables"},
    "_terminal": set(),
    "_pictures": set(),
    "_train_options": set(),
    "_predict_command": {"*"},
    "_train_command": {"*"},
    "cli": {"*"},
}
# Kernels include kernels, faces the kernels they show.
PXD = {
    "watch": set(),
    "alignment": set(),
    "product": {"watch"},
    "vmath": set(),
    "activation": {"vmath"},
    "optimizer": {"vmath", "watch"},
    "dense": {"product", "vmath", "watch"},
    "loss": {"activation"},
    "batch_norm": {"vmath"},
    "dropout": set(),
    "network": {"activation", "batch_norm", "dense", "dropout", "loss", "vmath", "watch"},
    "update": {"network", "optimizer", "vmath"},
    "rows": set(),
    "sparse": {"rows", "vmath"},
    "online": {"activation", "dense", "network"},
    "batch": {"dropout", "network", "optimizer", "rows", "update", "vmath", "watch"},
    "arrays": {"network", "rows", "vmath"},
    "passes": {"activation", "loss", "network", "rows", "update", "watch"},
    "training": {
        "activation",
        "batch",
        "dropout",
        "network",
        "online",
        "optimizer",
        "rows",
        "sparse",
        "vmath",
        "watch",
    },
    "numdiff": {"activation", "batch_norm", "loss", "network", "product", "vmath", "watch"},
    "callback": {"watch"},
}


def imported(path):
    """The modules of nncore that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "nncore":
            modules = [f"nncore.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        names |= {name.split(".")[1] for name in modules if name.startswith("nncore.")}
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.name)
def test_python_modules_import_downwards(path):
    allowed = PYTHON[path.stem]
    assert "*" in allowed or imported(path) <= allowed


@pytest.mark.parametrize("name", PXD)
def test_kernels_include_downwards(name):
    text = (CORE / f"{name}.pxd").read_text()
    assert set(re.findall(r"nncore_ext\.(\w+)", text)) <= PXD[name]


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


@pytest.mark.parametrize("level", _cpu.supported_levels())
def test_a_level_can_be_forced(level):
    done = python("import nncore; nncore.show_config()", NNCORE_LEVEL=level)
    assert re.search(rf"^level +{level} ", done.stdout, re.MULTILINE)
    assert level == "baseline" or "-march=" + level.replace("_", "-") in done.stdout


def test_an_unknown_level_is_refused():
    done = python("import nncore; nncore.sigmoid(0)", NNCORE_LEVEL="avx9000")
    assert "NNCORE_LEVEL is 'avx9000', expected one of x86_64_v4, x86_64_v3, baseline, or unset" in done.stderr


def test_levels_agree_to_rounding():
    code = """
import numpy as np, nncore
(x, t), _ = nncore.load_moons()
net = nncore.NeuralNetwork([nncore.Layer(2, 25, "sigmoid"), nncore.Layer(25, 2, "tanh")], rng=0)
net.fit(x, t, batch_size=7, iterations=200, rng=0, progress=False)
print(" ".join(map(repr, net.core.params.tolist())))
"""
    first, *others = (
        [float(v) for v in python(code, NNCORE_LEVEL=level).stdout.split()] for level in _cpu.supported_levels()
    )
    for other in others:
        assert other == pytest.approx(first, rel=1e-10, abs=1e-12)


def test_number_of_threads_from_the_environment():
    code = "from nncore import _threads; print(_threads.choices('auto', 10**9), _threads.choices('auto', 10))"
    assert python(code, NNCORE_NUM_THREADS="3").stdout in ("(1, 3) (1,)\n", "(1,) (1,)\n")
    assert python(code, NNCORE_NUM_THREADS="1").stdout == "(1,) (1,)\n"
    assert "NNCORE_NUM_THREADS is 'x', expected a whole number" in python(code, NNCORE_NUM_THREADS="x").stderr


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, _threads.MAX_THREADS),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, _threads.MAX_THREADS),
        ({"cpu.max": "?"}, _threads.MAX_THREADS),
        ({}, _threads.MAX_THREADS),
    ],
)
def test_limits_of_containers(files, cpus, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _threads._quota(tmp_path) == cpus


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
from nncore import _threads
if "NNCORE_NUM_THREADS" not in __import__("os").environ:
    _threads.cpus = lambda: 3
def ask(): return _threads.choices("auto", 10**12)[-1]
print(ask(), _threads.choices(2, 10**12)[-1])
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
    from nncore import _threads
    return _threads.choices("auto", 10**12)
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
from nncore import _threads
def blas(): return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
def hold():
    with _threads.single_threaded_blas(1 << 30), _threads.single_threaded_blas(1 << 30):
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
    widest = _cpu.supported_levels()[0]
    if widest != "baseline":
        assert python(code, NNCORE_LEVEL=widest, OPENBLAS_NUM_THREADS="2").stdout == "False True\nTrue\n" * 2


def test_every_public_name_is_there_and_documented():
    for name in nncore.__all__:
        value = getattr(nncore, name)
        assert name == "__version__" or (value.__doc__ and value.__module__.startswith("nncore."))
    assert set(dir(nncore)) == set(nncore.__all__)


def test_version_is_the_distributions():
    from importlib.metadata import PackageNotFoundError, version

    try:
        assert version("nncore") == nncore.__version__
    except PackageNotFoundError:
        assert "src" in str(PACKAGE)  # run from the source tree
