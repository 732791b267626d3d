"""What data there is: bundled tables, published files, and verified downloads."""
