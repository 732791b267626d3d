"""Run the shell by ``python -m alpaca_analysis.cli``."""

from alpaca_analysis.cli import main

main()
