"""What everything stands on: errors, options, ties, files, progress; imports nothing of this package."""
