"""The network: backbones, parameter generators and class-specific heads, in plain PyTorch."""
