"""Asking language models: servers, stored answers, budgets."""
