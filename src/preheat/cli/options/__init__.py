"""The argparse options of each verb."""
