"""Several node processes on one database: routed commands, failover, handover, many nodes."""
