"""Windows over a whole scan: their order, sums, blending and decisions."""
