"""The paper's baselines, one module each; config/methods.py names them, mlsh_mpi/extending.md says how to add one."""
