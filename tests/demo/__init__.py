"""A whole attack in half a minute: real sshd, nginx, nftables and agent, in namespaces that vanish with them (`make demo`)."""
