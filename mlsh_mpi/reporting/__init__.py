"""Tables, plots and videos of runs."""
