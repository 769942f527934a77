"""The test of the method: a fresh master for each task over primitives that stay as they are."""
