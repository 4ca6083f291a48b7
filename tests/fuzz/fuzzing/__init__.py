"""Fuzzing by atheris: all targets in turn, one under it, and one input again."""
