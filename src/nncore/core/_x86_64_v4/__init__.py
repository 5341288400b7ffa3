"""The compiled core for machines with AVX-512 (F, BW, CD, DQ and VL)."""
