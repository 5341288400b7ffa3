"""The classes of the book's chapters."""
