"""`build`: an image with the weights in it."""
