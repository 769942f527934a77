"""Collects data from environments: task families, lanes of episodes, and rollouts."""
