"""What happens to results when a run is killed, misused or attacked, counted over many attempts."""
