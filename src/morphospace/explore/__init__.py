"""The door to look through: a page in the browser, its server, and the same map in a notebook."""
