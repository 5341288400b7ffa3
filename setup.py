"""What pyproject.toml cannot say: the compiled core, once for each CPU level.

NNCORE_DEBUG=1     bounds, overflow and initialisation checks; -O1 -g
NNCORE_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (run Python with libasan preloaded)
"""

import os
import platform
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("NNCORE_DEBUG") == "1"
SANITIZE = os.environ.get("NNCORE_SANITIZE") == "1"
INCLUDE = [np.get_include(), "nncore_ext"]
MODULES = ("activation", "dense", "loss", "network", "numdiff", "optimizer", "sparse")
LEVELS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64") and os.name == "posix":
    LEVELS["x86_64_v3"] = ["-march=x86-64-v3"]
    # Full-width registers, which compilers avoid unless told: numerical gradient of 784-50-10 in 29 instead of 43 ms.
    LEVELS["x86_64_v4"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]

# No -ffast-math. errno and floating-point traps are never read; a * b + c may become one rounding.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
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


def level_extensions(level: str) -> list[Extension]:
    """One cythonize call a level: the same .pyx under two names in one call is refused."""
    extensions = [
        Extension(
            f"nncore.core._{level}.{name}", [f"nncore_ext/{name}.pyx"], include_dirs=[np.get_include(), "nncore_ext"]
        )
        for name in MODULES
    ]
    return cythonize(extensions, include_path=["."], build_dir=f"build/{level}", compiler_directives=DIRECTIVES)


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
        for extension in self.extensions:
            level = extension.name.split(".")[2].removeprefix("_")
            extension.extra_compile_args = flags + openmp + LEVELS.get(level, [])
            extension.extra_link_args = SANITIZER_FLAGS + (openmp if openmp == ["-fopenmp"] else [])
            extension.define_macros += [
                ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
                ("NNCORE_FLAGS", '"' + " ".join(extension.extra_compile_args) + '"'),
            ]
        super().build_extensions()

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


cpu = cythonize(
    [Extension("nncore.core._cpu", ["nncore_ext/cpu.pyx"])], build_dir="build/cpu", compiler_directives=DIRECTIVES
)
setup(ext_modules=cpu + [e for level in LEVELS for e in level_extensions(level)], cmdclass={"build_ext": build_levels})
