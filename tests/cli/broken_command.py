"""A command with a bug in it."""


def main(argv):
    return 1 // len(argv)
