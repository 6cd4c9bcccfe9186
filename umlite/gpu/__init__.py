"""Code that only a GPU needs: transfers, memory, graphs, precision, preparation of scans."""
