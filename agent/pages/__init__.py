"""Small web pages: the same questions and orders as at the control socket, for people with a browser. No JavaScript."""
