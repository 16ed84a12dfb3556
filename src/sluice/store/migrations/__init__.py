"""How a store came to its schema: alembic's environment and the versions."""
