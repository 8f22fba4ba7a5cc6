"""HTTP connections, proxies and retries; nothing here knows a hub."""
