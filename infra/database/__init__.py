"""The application database: tables, migrations, unit of work."""
