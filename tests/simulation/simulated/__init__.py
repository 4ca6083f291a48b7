"""A world for the real relay to run in: a clock, a network and a disk that do as they are told, and those around it."""
