"""Likely causes of a wrong gradient: mistakes that its errors fit, and variants of the function that it fits."""
