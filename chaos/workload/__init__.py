"""What runs beside the daemons: toy apps with a job, and the resources their writes go to."""
