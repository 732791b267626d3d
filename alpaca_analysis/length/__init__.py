"""What output length does to judgements."""
