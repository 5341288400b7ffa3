"""The compiled core for every machine of its kind."""
