"""One file, one check: a question asked again and again. agent/check.py says what an answer is.

In the names of fields, a `limit` is bad from that value on, and a `floor` is bad below it. Values are percent, seconds, or
what the field's name ends in.
"""
