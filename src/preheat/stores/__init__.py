"""Object stores: S3 and compatible stores, Google Cloud Storage and Azure, through obstore."""
