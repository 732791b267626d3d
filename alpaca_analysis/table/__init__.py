"""The one table of judgements: schema, checks, counts, collapsing, and readers of files."""
