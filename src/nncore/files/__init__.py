"""Models, checkpoints and exports, written whole or not at all."""
