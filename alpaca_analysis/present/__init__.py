"""Results as people read them: tables, files, rendering of names."""
