"""Sends every iteration's metrics to Weights & Biases (pip install wandb), kept on disk: ``wandb sync`` uploads them."""

import wandb

import mlsh_mpi

if __name__ == "__main__":
    tracker = wandb.init(project="mlsh", mode="offline")

    def log(metrics, _):
        tracker.log(metrics, step=int(metrics["iteration"]))
        return metrics.get("return/adapted", 0.0) > 35  # True ends training

    mlsh_mpi.run("moving-bandits", iterations=20, whole_episode_iterations=15, on_iteration=log)
    tracker.finish()
