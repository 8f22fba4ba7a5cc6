"""Pull-through: download missing files while serving them."""
