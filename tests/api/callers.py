"""Who asks the APIs that tests of this folder share."""

ORIGIN = "https://app.example.org"
"""Of a page that may use them."""
