"""Data sets, tables and samples as the engine takes them."""
