"""Win rates of one model, two models and many: estimates, comparisons, ranks, ratings, plans."""
