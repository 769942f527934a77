"""What the paper compares with, a module each; registry.py knows their names, mlsh_mpi/README.md how to add one."""
