"""Pictures of the simulated operating room: room camera, guide camera, ultrasound. Pure functions of poses; no clock, no PyBullet."""
