"""The sections of the page: one module per section, with its view classes and the function that builds them."""
