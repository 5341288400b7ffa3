"""Gradients compared with differences, element by element, and the mistakes that explain where they differ."""
