"""Makes messages and dispatches them."""
