"""Django: add `leaderd.integrations.django` to `INSTALLED_APPS` for `manage.py leader_run ELECTION COMMAND ...`."""
