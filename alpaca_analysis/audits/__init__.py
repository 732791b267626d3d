"""Everything the package can check about a table, on one page."""
