"""The kernel over netlink, for whoever asks it: systems that change something, sensors that only look."""
