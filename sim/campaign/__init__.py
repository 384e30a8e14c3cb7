"""The fault campaign: the shipped decoder, gate, governor and drive in virtual time, under every fault, seeded."""
