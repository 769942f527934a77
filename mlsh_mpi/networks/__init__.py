"""What decides: policies and values, the distributions they act by, and how they are evaluated quickly."""
