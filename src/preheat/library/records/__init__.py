"""What is known about blobs: versions, pins, claims, seals, scan results."""
