"""The hand: master devices, engage and clutch, shaping, feel, and the maker of command frames. See docs/hand.md."""
