"""Simulated stores: what the servers do (`*_server.py`), and drivers that speak the protocol of `leaderd/stores/base.py` to them."""
