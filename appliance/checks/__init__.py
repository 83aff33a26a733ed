"""One file per validation method: a request in, an observation out. The same code for primary and remotes."""
