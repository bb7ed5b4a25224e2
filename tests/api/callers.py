"""Who asks the APIs that tests of this folder share."""

ORIGIN = "https://app.example.org"
"""Of a page that may use them."""

ADMIN_KEY = "0123456789abcdef" * 2
"""Of those that let nobody in without a key."""
