"""Which method is faithful: many images, many methods, one table."""
