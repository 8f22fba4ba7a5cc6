"""Options of each verb, as argparse needs them."""
