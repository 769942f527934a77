"""What a run keeps: its folder, log, checkpoints and statistics, and the session that resumes a run and leaves it."""
