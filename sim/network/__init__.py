"""The emulated network between cities: pure models in virtual time (`channel`, `profiles`), and a relay of real datagrams."""
