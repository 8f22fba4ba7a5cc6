"""Reports: figures, table, HTML page and thresholds."""
