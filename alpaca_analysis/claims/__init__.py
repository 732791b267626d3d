"""Printed numbers against data: win rates, correlations, whole leaderboards."""
