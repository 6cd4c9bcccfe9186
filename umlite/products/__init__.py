"""What is written of a result: each kind of output is a product, and all products of a scan appear as one set."""
