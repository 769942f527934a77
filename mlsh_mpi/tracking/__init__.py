"""A run's records: its folder, log, checkpoints and statistics, and the session that resumes and leaves a run."""
