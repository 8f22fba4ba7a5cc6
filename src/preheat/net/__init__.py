"""HTTP connections, proxies and retries, independent of any hub."""
