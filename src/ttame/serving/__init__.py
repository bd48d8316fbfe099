"""A page to look at and an API to build on; ``ttame serve`` starts them."""
