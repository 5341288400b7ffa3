"""Derivatives by differences: steps, noise, kinks."""
