"""What a run keeps: its folder, its log, its checkpoints, and the session that resumes and leaves."""
