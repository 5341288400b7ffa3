"""The version, once; pyproject.toml says it to installers."""

VERSION = "0.1.0"
