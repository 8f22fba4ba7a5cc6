"""The status page, its metrics, and start-up progress."""
