"""Faults against the real agent: a matrix of every action and every fault, and a long random walk through all of them."""
