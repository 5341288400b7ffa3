"""Layers on one vector of parameters."""
