"""`stage`: fill a node's own disk with an app's files before a job, and remove old ones that no job uses."""
