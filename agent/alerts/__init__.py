"""What other tools say holds: from the first time they say so until they say that it is over."""
