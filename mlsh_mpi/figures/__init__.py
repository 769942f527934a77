"""The paper's figures, drawn from logged runs."""
