"""Windows over a whole scan: order, sums, blending, decisions."""
