"""Policy and value networks, action distributions, fast inference, and the observation filter."""
