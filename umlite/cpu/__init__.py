"""The native CPU path: kernels in plain C, compiled on first use, and the networks assembled from them."""
