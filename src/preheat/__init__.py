"""preheat: model weights ready ahead."""

__version__ = "0.1.0"
