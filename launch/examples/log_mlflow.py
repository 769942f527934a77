"""Sends every iteration's metrics to MLflow (pip install mlflow), into a database in the current folder."""

import mlflow

import mlsh_mpi

if __name__ == "__main__":
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run(run_name="bandits"):

        def log(metrics, _):
            known = {name.replace("=", ":"): value for name, value in metrics.items()}  # MLflow allows no "=" in names
            mlflow.log_metrics(known, step=int(metrics["iteration"]))

        mlsh_mpi.run("moving-bandits", iterations=20, whole_episode_iterations=15, on_iteration=log)
        print("logged in", mlflow.get_tracking_uri())
