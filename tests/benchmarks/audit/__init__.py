"""What audits cost: verifying, reading the past, exporting, and all of it beside load."""
