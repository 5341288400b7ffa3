"""The compiled core for machines with AVX2 and FMA."""
