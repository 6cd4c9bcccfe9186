"""One file an operation: the public op and, beside it, its plain reference."""
