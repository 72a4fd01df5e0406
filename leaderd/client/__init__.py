"""What apps import. Standard library only, and nothing of the rest of leaderd."""
