"""Tests, and the lab that they and the demo run in."""

import os

# What is made here is also read by users without privileges, whatever the umask of the shell that started it.
os.umask(0o022)
