"""What is started: each command sets up a job around the folders below, and shows and keeps what comes of it."""
