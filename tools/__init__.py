"""Programs for those who work on leaderd; not part of the package."""
