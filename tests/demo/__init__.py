"""`make demo`: the main job as a story, every sentence of it measured at the targets and on the CA site's uplink."""
