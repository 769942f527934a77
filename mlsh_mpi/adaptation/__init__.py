"""The test of the method: a fresh master for each task, over frozen primitives."""
