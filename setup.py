"""The one part of the package that is compiled; the rest stands in pyproject.toml.

It is optional: without a C compiler the package installs and works, only slower.
"""

from pathlib import Path
from zlib import crc32

from setuptools import Extension, setup

SOURCES = sorted(Path(__file__).parent.glob("minirnn/engine/native/*.[ch]"))

setup(
    ext_modules=[
        Extension(
            "minirnn.engine._native",
            sources=["minirnn/engine/native/machine.c"],
            depends=[str(path) for path in SOURCES],
            # What it was built from: minirnn/engine/settings.py compares.
            define_macros=[("SOURCES", str(crc32(b"".join(p.read_bytes() for p in SOURCES))))],
            extra_compile_args=["-O3", "-g0", "-fno-math-errno", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
