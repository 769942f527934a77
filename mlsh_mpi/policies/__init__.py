"""Acting after training, without the trainer or MPI: primitives and hierarchies from files, and primitives as actions."""
