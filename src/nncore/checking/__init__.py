"""Gradients compared with differences, element by element, and what is wrong with them."""
