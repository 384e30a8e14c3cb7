"""The directory on its chosen engine (NATS with JetStream, docs/scale.md): a server to start, a thousand simulated sites, watchers."""
