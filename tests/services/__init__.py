"""Real services for the tests: private, on loopback, and gone when the tests are.

Nothing here needs a container engine or a service that already runs on the machine: every
broker, database and worker is a child process on free ports with its state in one folder.
"""
