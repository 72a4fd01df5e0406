"""The compose project of one run: its containers as processes and store nodes, and the agents that break its network."""
