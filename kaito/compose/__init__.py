"""One machine instead of a cluster: a Workspace's pod as a Compose file, and back."""
