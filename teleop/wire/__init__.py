"""What crosses the WAN as bytes: command frames (console to site) and state frames (site to console)."""
