"""The one part of the package that is compiled; the rest stands in pyproject.toml.

It is optional: without a C compiler the package installs and works, only slower.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "minirnn.engine._native",
            sources=["minirnn/engine/native/machine.c"],
            depends=[
                f"minirnn/engine/native/{name}.h" for name in ("kernels", "step", "step_calls")
            ],
            extra_compile_args=["-O3", "-g0", "-fno-math-errno", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
