"""One file, one check: a question asked again and again. agent/check.py says what an answer is."""
