"""Win rates at equal length: fits, difficulties, specifications, transfer."""
