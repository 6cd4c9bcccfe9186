"""Files that come to be together, and what killed runs leave of them."""
