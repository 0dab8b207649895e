"""Ways into the library from other libraries."""
