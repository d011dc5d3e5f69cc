"""Lets tests, and the programs that they start, have leases that are over soon.

On Postgres a node refuses leases that no session's end would leave alive; that it does has a test of its own.
"""

from casty_es import arguments

arguments.SESSIONS_PER_LEASE = 0.0
