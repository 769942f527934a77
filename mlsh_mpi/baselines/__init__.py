"""What the paper compares with, a module each; the table in config/methods.py names them, mlsh_mpi/extending.md how to add one."""
