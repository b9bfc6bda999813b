"""The database that the features share: SQLite for one replica, PostgreSQL for several."""
