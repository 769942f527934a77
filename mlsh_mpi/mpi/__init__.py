"""The ranks of a job: who they are, what they send to one another, and how the job begins and ends."""
