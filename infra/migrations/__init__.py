"""The history of the database's schema, applied at start by `infra.database.engine.migrate`."""
