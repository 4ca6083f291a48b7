"""Logging in, on both sides: SASL mechanisms, where accounts come from, and what slows guessing down."""
