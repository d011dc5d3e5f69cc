"""What we are measured against. Each file is a program that prints one JSON object."""
