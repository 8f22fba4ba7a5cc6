"""How an image starts, and what it contains and says about itself."""
