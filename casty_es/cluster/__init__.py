"""Who is alive, who should own what, and moving slots to where they belong."""
