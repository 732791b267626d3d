"""What pairwise judgements of language models show, and how surely.

The names below load when first used, so that importing the package costs
little more than importing nothing.

Examples
--------
>>> import alpaca_analysis as aa
>>> table = aa.from_counts({"model": ["m"], "n_wins": [7], "n_losses": [2], "n_draws": [1]})
>>> aa.win_rate(table, method="t").loc[0, "win_rate"].item()
0.75
"""

import lazy_loader

from alpaca_analysis.foundations.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
