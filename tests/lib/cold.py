"""The memory of the simulated cold store (core/store_cold.h): what was asked for, and what becomes of it when a test says so.

A test whose program must find the store still thawing asks for delay=HOURS and then says `thawed()`: no machine is so slow
that the hours are over before.
"""
HOURS = 4 * 3600


class ColdStore:
    def __init__(self, folder):
        self.url_part = "dir:" + folder
        self.path = folder + ".cold/requests"

    def url(self, settings):
        return "cold:%s/%s" % (settings, self.url_part)

    def asked(self, kind="thaw"):
        """The lines of a kind, as words."""
        try:
            with open(self.path) as f:
                return [line.split() for line in f if line.split()[0] == kind]
        except FileNotFoundError:
            return []

    def say(self, kind):
        names = sorted({words[1] for words in self.asked()})
        with open(self.path, "a") as f:
            f.write("".join("%s %s\n" % (kind, n) for n in names))

    def thawed(self):
        """Whatever was asked for can be read."""
        self.say("ready")

    def forgotten(self):
        """Nothing is thawed any more."""
        self.say("forgotten")
