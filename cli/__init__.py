"""The `rational_rewards` command: the nodes' jobs from a shell."""
