"""What the paper compares with, a module each."""
