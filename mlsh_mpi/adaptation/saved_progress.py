"""Whether a test can continue from a checkpoint."""

from __future__ import annotations

from mlsh_mpi.adaptation.loop import Adaptation, AdaptationMethod
from mlsh_mpi.algorithm.saved_state import check_no_nan, check_tensors
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking.checkpoint import Checkpoint


def check_resumable(saved: Checkpoint, learners: AdaptationMethod) -> None:
    """Raises an exception if a test cannot continue from a checkpoint of the same settings, tasks and primitives.

    One rank may call it.

    Raises:
        UserError: something is missing, has another shape, or is NaN. Contents of another kind may raise anything else.
    """
    tasks, state = learners.adaptation_set.tasks, saved.state
    check_tensors(state["learners"], learners.state_dict(), "learners", rows=len(tasks))
    if state.get("kept"):
        check_tensors(state["kept"], learners.state_dict(), "kept", rows=len(tasks))
    if learners.memory is not None and len(state.get("memories", tasks)) != len(tasks):
        raise UserError(f"it holds the memories of {len(state['memories'])} learners, but there are {len(tasks)}")
    check_no_nan(state.get("memories"), "memories")
    for name, values in Adaptation.empty(tasks, learners.steps, learners.behaviours).curves.items():
        shape = (saved.iteration, *values.shape[1:])
        if state["curves"][name].shape != shape:
            raise UserError(f"curves.{name} has the shape {tuple(state['curves'][name].shape)} instead of {shape}")
