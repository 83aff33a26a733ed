"""What units start: each module is one executable that wires rooms together and holds no logic of its own."""
