"""How events, errors and results are printed: sentences or JSON lines."""
