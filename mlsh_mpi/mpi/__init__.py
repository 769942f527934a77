"""The MPI job: its ranks, what they send to one another, the placement of workers, and how a job starts and ends."""
