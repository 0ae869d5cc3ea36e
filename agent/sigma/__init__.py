"""Rules of Sigma's (sigmahq.io) written as our policies: only what means exactly the same. Pure.

Nothing of Sigma's runs in the agent: what is written here are policies for people to look at.

Written after the published specification 2.0 (sigma-rules, sigma-modifiers, sigma-conditions, sigma-correlation-rules).
"""
