"""The examples of the documentation, and the words it uses about the tests."""
