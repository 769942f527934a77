"""The commands: each sets up an MPI job, runs the parts of the package in it, and shows and keeps the results."""
