"""The command nncore."""
