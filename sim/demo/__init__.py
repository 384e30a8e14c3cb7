"""`longhand demo`: three simulated hospitals, treated in turn by a scripted surgeon, judged by the physics' own truth."""
