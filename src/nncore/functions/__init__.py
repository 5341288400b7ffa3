"""Activations, losses and information, each for arrays."""
