"""Several hosts: network namespaces of this machine, with cables that can be pulled. Needs root."""
