"""The routes, by what they are about. Handlers look and answer; what they look at is in `Parts`,
and what blocks is called in a thread."""
