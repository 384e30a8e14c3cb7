"""The part of the campaign that runs in real processes on real sockets: kills, stops, keys and full disks."""
