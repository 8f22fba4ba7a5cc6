"""What each version costs, what can be removed, and hashing everything again."""
