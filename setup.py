"""The compiled kernel; all metadata is in setup.cfg. Without a compiler the package installs all the same, slower."""

import os

from setuptools import Extension, setup

FLAGS = [] if os.name == "nt" else ["-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]

kernel = Extension(
    "skgd._kernel",
    ["skgd/_kernel.pyx"],
    depends=["skgd/_kernel.h", "skgd/_pass.h", "skgd/_sparse_pass.h"],
    extra_compile_args=FLAGS,
    optional=True,
)
setup(ext_modules=[kernel])
