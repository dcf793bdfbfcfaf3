"""Compiles glide_nemo/cpu/kernels.cpp for this machine; where that fails, GLiDE trains on torch's own operations."""

from __future__ import annotations

from setuptools import setup
from torch.backends.cpu import get_cpu_capability
from torch.utils.cpp_extension import BuildExtension, CppExtension

# As torch compiles its own kernels for each kind of processor (aten/src/ATen/CMakeLists.txt).
FLAGS = {
    "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mavx2", "-mf16c"],
    "AVX2": ["-mavx2", "-mfma", "-mf16c"],
}
capability = get_cpu_capability()
flags = [f"-DCPU_CAPABILITY_{capability}", f"-DCPU_CAPABILITY={capability}"] if capability in FLAGS else []

setup(
    ext_modules=[
        CppExtension(
            f"glide_nemo.cpu._kernels_{capability.lower()}",
            ["glide_nemo/cpu/kernels.cpp"],
            depends=["glide_nemo/cpu/attention.h", "glide_nemo/cpu/rows.h"],
            extra_compile_args=["-O3", "-g0", "-w", "-fopenmp", *flags, *FLAGS.get(capability, [])],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildExtension.with_options(use_ninja=False)},
)
