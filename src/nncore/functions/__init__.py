"""The kinds of activations and losses, and activations, errors and information of arrays."""
