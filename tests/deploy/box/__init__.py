"""A Docker engine in a box of namespaces, and images of Debian packages: what is deployed is built and run without a registry.

`python -m tests.deploy.box` does all of it: see `__main__.py`.
"""
