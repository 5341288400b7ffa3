"""The compiled core, which pyproject.toml cannot describe: translated to C once, compiled once for each CPU level.

NNCORE_LEVELS      levels to build: "all", or names separated by commas; unset: the best one this machine runs.
                   baseline, which runs everywhere, is always built
NNCORE_DEBUG=1     bounds, overflow and initialisation checks; -O1 -g
NNCORE_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (run Python with libasan preloaded)
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import Cython
import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("NNCORE_DEBUG") == "1"
SANITIZE = os.environ.get("NNCORE_SANITIZE") == "1"
HEADERS = sorted(map(str, Path("nncore_ext").rglob("*.h")))
# Compiled for each level; the largest first, as compilers work side by side.
MODULES = {
    "network": "nncore_ext/engine/network.pyx",
    "dense": "nncore_ext/layers/dense.pyx",
    "activation": "nncore_ext/layers/activation.pyx",
    "loss": "nncore_ext/layers/loss.pyx",
    "compressed": "nncore_ext/samples/compressed.pyx",
    "optimizer": "nncore_ext/training/optimizer.pyx",
}
# Compiled once: no loop of theirs is worth more.
PORTABLE = {"_cpu": "nncore_ext/cpu.pyx", "_functions": "nncore_ext/differences/functions.pyx"}
# Cython's own code for memoryviews and functions, instead of a copy in each module: half of all there was to compile.
SHARED = "nncore.core._shared"
# C code of one version of Cython only: modules and what they share must be of the same.
TRANSLATED = Path("build", f"cython-{Cython.__version__}")

LEVELS = {"baseline": []}
# Of each level, by the psABI: what /proc/cpuinfo calls it.
CPU_FLAGS = {
    "x86_64_v3": {"avx2", "fma", "bmi1", "bmi2", "popcnt"},
    "x86_64_v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
if platform.machine().lower() in ("x86_64", "amd64") and os.name == "posix":
    # Full-width registers, which compilers avoid unless told: numerical gradient of 784-50-10 in 29 instead of 43 ms.
    LEVELS["x86_64_v4"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
    LEVELS["x86_64_v3"] = ["-march=x86-64-v3"]

# No -ffast-math. errno and floating-point traps are never read; a * b + c may become one rounding.
# Without Cython's hint to inline everything: the same bits and speed, in 16 s of CPU time less.
FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-DCYTHON_INLINE="]
if DEBUG or SANITIZE:
    FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer"]
SANITIZER_FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if SANITIZE else []
DIRECTIVES = {
    "language_level": 3,
    "cdivision": True,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "embedsignature": True,
}


def chosen_levels() -> list[str]:
    """Return the levels to build: those NNCORE_LEVELS names, or the best one that this machine runs."""
    asked = os.environ.get("NNCORE_LEVELS", "")
    if asked == "all":
        return list(LEVELS)
    if not asked:
        return ["baseline", *best_level()]
    names = {name.strip() for name in asked.split(",")}
    if not names <= set(LEVELS):
        sys.exit(f"NNCORE_LEVELS is {asked!r}, expected 'all' or some of {', '.join(LEVELS)}, separated by commas")
    return [level for level in LEVELS if level in names or level == "baseline"]


def best_level() -> list[str]:
    """Return the best level of this machine beside baseline, if any; where nothing says which that is, all."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [level for level in LEVELS if level != "baseline"]
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    here = [level for level in CPU_FLAGS if level in LEVELS and flags >= CPU_FLAGS[level]]
    return here[-1:] if "x86_64_v3" in here else []


def translated() -> dict[str, str]:
    """Return the C source of each module, named as dispatch shows it: nncore.core.dispatch.network at any level."""
    sources = {f"nncore.core.dispatch.{name}": source for name, source in MODULES.items()}
    sources |= {f"nncore.core.{name}": source for name, source in PORTABLE.items()}
    extensions = cythonize(
        [Extension(name, [source]) for name, source in sources.items()],
        include_path=[".", "nncore_ext/declarations"],
        build_dir=str(TRANSLATED),
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        quiet=True,
    )
    return {extension.name.rpartition(".")[2]: extension.sources[0] for extension in extensions}


def shared_source() -> str:
    """Return the C source of what the modules share."""
    path = TRANSLATED / "_shared.c"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "cython", f"--generate-shared={path}", "--module-name", SHARED], check=True
        )
    return str(path)


def copy_for(level: str, source: str) -> str:
    """Return a copy of a C source for one level: object files lie where their sources do."""
    copy = TRANSLATED / level / Path(source).name
    if not copy.exists() or copy.stat().st_mtime < Path(source).stat().st_mtime:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    return str(copy)


def extensions(levels: list[str]) -> list[Extension]:
    """Return all there is to compile, what takes longest first; their sources are C only when they are built."""
    each = [(level, name) for name in MODULES for level in reversed(levels)]
    sources = {f"nncore.core._{level}.{name}": MODULES[name] for level, name in each}
    sources |= {f"nncore.core.{name}": source for name, source in PORTABLE.items()}
    made = [Extension(name, [source], include_dirs=["nncore_ext"], depends=HEADERS) for name, source in sources.items()]
    return [*made, Extension(SHARED, [])]


class build_levels(build_ext):
    """Adds each level's flags, which need to know the compiler, and OpenMP where it is there; compiles side by side."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            flags, openmp = ["/O2"], ["/openmp"]
        else:
            flags = FLAGS + SANITIZER_FLAGS
            openmp = ["-fopenmp"] if self.compiles(["-fopenmp"]) else ["-fopenmp-simd"]
        began = perf_counter()
        print(f"nncore: compiling {', '.join(CHOSEN)}, about a minute on two cores", flush=True)
        sources = translated()
        for extension in self.extensions:
            level, name = extension.name.split(".")[2].removeprefix("_"), extension.name.rpartition(".")[2]
            extension.sources = [
                shared_source() if extension.name == SHARED
                else copy_for(level, sources[name]) if level in LEVELS
                else sources[name]
            ]  # fmt: skip
            extension.include_dirs += [np.get_include()]
            extension.extra_compile_args = flags + openmp + LEVELS.get(level, [])
            extension.extra_link_args = SANITIZER_FLAGS + (openmp if openmp == ["-fopenmp"] else [])
            extension.define_macros += [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
            extension.define_macros += [("NNCORE_FLAGS", '"' + " ".join(extension.extra_compile_args) + '"')]
        self.remove_others()
        super().build_extensions()
        print(f"nncore: compiled in {perf_counter() - began:.0f} s", flush=True)

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        self.remove_others()

    def remove_others(self) -> None:
        """Remove compiled modules that an earlier build left and this one does not make: they would be loaded."""
        made = {Path(self.get_ext_fullpath(extension.name)).resolve() for extension in self.extensions}
        core = Path(self.get_ext_fullpath("nncore.core._cpu")).resolve().parent
        suffix = "".join(Path(self.get_ext_filename("x")).suffixes)
        for path in core.rglob(f"*{suffix}"):
            if path.resolve() not in made:
                path.unlink()

    def compiles(self, flags: list[str]) -> bool:
        """Whether a program builds with these flags: macOS's clang comes without OpenMP."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=flags)
            except Exception:  # each compiler class of setuptools raises its own
                return False
        return True


CHOSEN = chosen_levels()
setup(ext_modules=extensions(CHOSEN), cmdclass={"build_ext": build_levels})
