"""The pure core: events and the time go in, commands come out. Nothing here reads a clock, draws a number or does I/O."""
