"""Programs that containers of a cluster run by `python3 -c`, on Python 3.8 or later and nothing else."""
