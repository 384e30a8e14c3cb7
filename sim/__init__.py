"""Everything that is simulated: the operating room, the spine phantom, the network between cities, the people of a demo."""
