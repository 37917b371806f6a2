"""The figures of one platform: the minimum of all runs, kept in a file between calls."""
import json
import pathlib


class Figures:
    def __init__(self, path, conditions, forget):
        """`conditions` says what the figures depend on; figures of other conditions are forgotten, and those in `forget`."""
        self.path, self.conditions = pathlib.Path(path), conditions
        self.values, self.checksums, self.runs = {}, {}, {}
        if not self.path.exists():
            return
        kept = json.loads(self.path.read_text())
        if kept["conditions"] == conditions:
            self.values, self.checksums, self.runs = (
                {name: entry for name, entry in kept[field].items() if name not in forget} for field in ("values", "checksums", "runs"))

    def take(self, name, value, checksum=None):
        self.values[name] = min(value, self.values.get(name, value))
        self.runs[name] = self.runs.get(name, 0) + 1
        if checksum is not None:
            self.checksums[name] = checksum

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"conditions": self.conditions, "values": self.values, "checksums": self.checksums,
                                         "runs": self.runs}, indent=1) + "\n")

    def has(self, name, runs):
        return self.runs.get(name, 0) >= runs
