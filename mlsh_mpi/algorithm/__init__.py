"""Algorithm 1 of the paper: mlsh.py is the loop, masters.py updates theta, primitives.py updates phi."""
