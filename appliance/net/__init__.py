"""DNS, HTTP and TLS to hostile hosts: every byte bounded in size and time."""
