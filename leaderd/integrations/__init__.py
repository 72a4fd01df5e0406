"""`leaderd.client` in the places where apps need it. Each module imports its library only when it is used."""
