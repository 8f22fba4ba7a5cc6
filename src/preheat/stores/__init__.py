"""Object stores: S3 and what is compatible with it, Google Cloud Storage and Azure, through obstore."""
