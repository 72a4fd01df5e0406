"""Simulated stores: in each file what the servers do, and a driver that speaks the protocol of `leaderd/stores/base.py` to them."""
