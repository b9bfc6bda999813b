"""What Alembic runs, by the name `env_py`, to learn of the database that it shall migrate."""

from alembic import context

if __name__ == "env_py":
    context.config.attributes["run"](context)
