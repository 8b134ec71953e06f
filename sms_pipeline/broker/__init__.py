"""What goes over the broker, and how."""
