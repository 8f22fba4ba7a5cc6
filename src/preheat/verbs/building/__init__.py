"""`build`: write container images with an app's weights, and check them."""
