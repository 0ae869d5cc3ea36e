"""fail2ban's filters as they stand on the host, read and judged as fail2ban reads and judges them, many times as fast.

`load` reads `filter.d/NAME.conf` with all that belongs to it; `Reading` judges lines. Facts are those of fail2ban 1.0.2.
"""
