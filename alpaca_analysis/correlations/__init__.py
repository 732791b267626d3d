"""Correlations of win rates with human ones, and of subsets of instructions with all."""
