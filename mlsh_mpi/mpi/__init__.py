"""The MPI job: its ranks, their communication, the placement of workers, and how a job starts and ends."""
