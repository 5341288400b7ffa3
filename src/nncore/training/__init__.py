"""Optimizers, schedules and the loop that trains."""
