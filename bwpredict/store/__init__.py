"""Object stores (local folder and S3) and files written atomically."""
