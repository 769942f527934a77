"""Tests that run real MPI jobs."""
