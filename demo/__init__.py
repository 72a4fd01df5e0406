"""`make demo`: three daemons, three toy apps, one killed pair, and a verdict."""
