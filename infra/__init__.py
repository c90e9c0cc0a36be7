"""Everything that touches the world: settings, database, keys, audit log, gallery, networks, telemetry."""
