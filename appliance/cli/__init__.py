"""`mpicctl`: what an operator types."""
