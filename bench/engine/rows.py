"""The rows of the goal, and how a row is judged and printed."""
import math


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


class Row:
    """`against` names the column that Vireo is divided by ("host"), or that is divided by Vireo ("tcg", speed-up).
    `each` judges the worst measure instead of the geometric mean; `limit` is what no measure may pass."""

    def __init__(self, title, prefixes, against, reach, aim, each=False, limit=None, best_is_low=None):
        self.title, self.prefixes, self.against, self.reach, self.aim = title, prefixes, against, reach, aim
        self.each, self.limit = each, limit
        self.best_is_low = against == "host" if best_is_low is None else best_is_low

    def holds(self, name):
        return any(name.startswith(prefix) for prefix in self.prefixes)

    def ratio(self, values):
        vireo, other = values.get("vireo"), values.get(self.against)
        if vireo is None or other is None:
            return None
        return vireo / other if self.best_is_low else other / vireo

    def judge(self, measures):
        """The row's figure, the worst measure and its ratio, and whether the goal is met; None without figures."""
        ratios = {name: self.ratio(values) for name, values in measures.items() if self.holds(name)}
        ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        if not ratios:
            return None
        worst = max(ratios, key=ratios.get) if self.best_is_low else min(ratios, key=ratios.get)
        figure = ratios[worst] if self.each else geomean(list(ratios.values()))
        met = figure <= self.reach if self.best_is_low else figure >= self.reach
        if self.limit is not None:
            met = met and ratios[worst] <= self.limit
        return figure, worst, ratios[worst], met


ROWS = [
    Row("integer in user code / host", ["integer."], "host", 2.0, 1.6, limit=4.0),
    Row("real programs / host", ["program."], "host", 2.8, 2.3),
    Row("SSE/AVX floating point / host", ["float."], "host", 1.5, 1.1),
    Row("memcpy, memset of 1 MB / host", ["memory.memcpy_1m", "memory.memset_1m"], "host", 1.3, 1.1, each=True),
    Row("user compute: TCG / Vireo", ["integer.", "float."], "tcg", 4.0, 6.0),
    Row("null system call: TCG / Vireo", ["kernel.null_call"], "tcg", 2.0, 4.0),
    Row("fork+exec+wait: TCG / Vireo", ["kernel.fork_exec"], "tcg", 4.0, 8.0),
    Row("mmap+touch+munmap: TCG / Vireo", ["kernel.mmap_touch_munmap"], "tcg", 4.0, 10.0),
    Row("pipe ping-pong: TCG / Vireo", ["kernel.pipe_ping_pong"], "tcg", 5.0, 15.0),
    Row("1 MB read of /dev/zero: TCG / Vireo", ["kernel.read_zero_1m"], "tcg", 40.0, 80.0),
    Row("cloud kernel to /init: Vireo / TCG", ["boot.init"], "tcg", 0.4, 0.2, best_is_low=True),
    Row("Debian to login: Vireo / TCG", ["boot.login"], "tcg", 0.4, 0.25, best_is_low=True),
    Row("gcc -O2 of 20,000 lines: TCG / Vireo", ["program.gcc"], "tcg", 4.0, 7.0),
]
FOOTPRINT_MIB = (96, 48)
# Beside the goal: how the rows above look from the other side.
INFORMATION = [
    Row("integer alone: TCG / Vireo", ["integer."], "tcg", 4.0, 6.0),
    Row("floating point alone: TCG / Vireo", ["float."], "tcg", 4.0, 6.0),
    Row("real programs: TCG / Vireo", ["program."], "tcg", 4.0, 6.0),
    Row("all kernel measures: TCG / Vireo", ["kernel."], "tcg", 4.0, 8.0),
    Row("all memory measures: TCG / Vireo", ["memory."], "tcg", 4.0, 8.0),
    Row("all kernel measures / host", ["kernel."], "host", 3.0, 2.0),
]


def number(value):
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def duration(nanoseconds):
    if nanoseconds is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.2f} ns"


def divided(values, top, bottom):
    return values[top] / values[bottom] if values.get(top) and values.get(bottom) else None


def print_measures(measures):
    """Every measure with its three figures, and a geometric mean after each group."""
    print(f"{'measure':<30}{'host':>12}{'Vireo':>12}{'TCG':>12}{'Vireo/host':>12}{'TCG/host':>10}{'TCG/Vireo':>11}")
    groups = dict.fromkeys(name.split(".")[0] for name in measures)
    for group in groups:
        members = {name: values for name, values in measures.items() if name.startswith(group + ".")}
        for name, values in members.items():
            ratios = [divided(values, "vireo", "host"), divided(values, "tcg", "host"), divided(values, "tcg", "vireo")]
            print(f"{name:<30}" + "".join(f"{duration(values.get(column)):>12}" for column in ("host", "vireo", "tcg")) +
                  f"{number(ratios[0]):>12}{number(ratios[1]):>10}{number(ratios[2]):>11}")
        means = []
        for top, bottom in (("vireo", "host"), ("tcg", "host"), ("tcg", "vireo")):
            ratios = [divided(values, top, bottom) for values in members.values()]
            ratios = [ratio for ratio in ratios if ratio]
            means.append(geomean(ratios) if ratios else None)
        print(f"{'  geometric mean of ' + group:<66}{number(means[0]):>12}{number(means[1]):>10}{number(means[2]):>11}\n")


def print_row(title, figure, reach, aim, met, note=""):
    print(f"{title:<40}{figure:>10}{reach:>10}{aim:>10}  {'ok' if met else 'missed':<8}{note}")


def print_rows(measures, footprint_mib=None):
    """The goal's table; returns whether every row that has figures is met."""
    print(f"{'row':<40}{'measured':>10}{'reach':>10}{'aim':>10}  verdict")
    all_met = True
    for row in ROWS:
        verdict = row.judge(measures)
        if verdict is None:
            print(f"{row.title:<40}{'-':>10}{row.reach:>10}{row.aim:>10}  not run")
            continue
        figure, worst, worst_ratio, met = verdict
        several = sum(row.holds(name) for name in measures) > 1
        print_row(row.title, number(figure), row.reach, row.aim, met, f"worst {number(worst_ratio)} {worst}" if several else "")
        all_met = all_met and met
    if footprint_mib is not None:
        met = footprint_mib <= FOOTPRINT_MIB[0]
        print_row("memory beyond guest RAM, MiB", number(footprint_mib), *FOOTPRINT_MIB, met)
        all_met = all_met and met
    print("\nfor information")
    for row in INFORMATION:
        verdict = row.judge(measures)
        if verdict:
            print(f"{row.title:<40}{number(verdict[0]):>10}{'':>22}worst {number(verdict[2])} {verdict[1]}")
    return all_met
