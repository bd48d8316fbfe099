"""What Jupyter and its relatives show: small cards of HTML, and pictures."""
