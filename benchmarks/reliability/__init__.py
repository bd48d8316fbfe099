"""What happens to a user when something goes wrong."""
