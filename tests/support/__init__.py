"""What several test files share: samples, stand-ins for devices and servers, tools for GPU kernels."""
