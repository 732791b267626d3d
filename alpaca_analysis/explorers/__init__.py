"""What a person clicks through in a notebook."""
