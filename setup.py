"""The compiled kernel; all metadata is in setup.cfg. Without a compiler the package installs all the same, slower.

SKGD_REQUIRE_KERNEL=1 makes that an error: for releases, and where speed matters.
"""

import os
import re
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FLAGS = [] if os.name == "nt" else ["-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
if FLAGS and "CFLAGS" not in os.environ:
    FLAGS.append("-g0")  # without debug information the library is a fifth as large
# One build serves every Python from 3.11 on, except those without the GIL, which have no limited API.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")


def description():
    """The README as a package index shows it: without pictures and links that need the files beside it."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"<picture>.*?</picture>\n\n", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", text)


class BuildKernel(build_ext):
    """Leaves the kernel beside its sources, too, so that Python finds it when started in this folder."""

    def run(self):
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()


kernel = Extension(
    "skgd._kernel",
    ["skgd/_kernel.pyx"],
    depends=["skgd/_kernel.h", "skgd/_pass.h", "skgd/_sparse_pass.h"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if ABI3 else [],
    py_limited_api=ABI3,
    extra_compile_args=FLAGS,
    optional=os.environ.get("SKGD_REQUIRE_KERNEL", "") in ("", "0"),
)
setup(
    ext_modules=[kernel],
    long_description=description(),
    long_description_content_type="text/markdown",
    cmdclass={"build_ext": BuildKernel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
