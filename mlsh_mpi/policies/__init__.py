"""Acting after training, without trainer or MPI: primitives and hierarchies from files, and primitives as actions."""
