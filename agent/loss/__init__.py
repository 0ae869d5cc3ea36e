"""What is done when evidence is lost or cannot be written: acting on, saying so, asking the systems what they hold."""
