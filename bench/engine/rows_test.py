import unittest

from platforms import Outcome
from rows import Row


class Rows(unittest.TestCase):
    def test_a_slowdown_is_the_geometric_mean_against_the_host(self):
        row = Row("title", ["a."], "host", reach=2.0, aim=1.5)
        measures = {"a.x": {"host": 1.0, "vireo": 1.0}, "a.y": {"host": 1.0, "vireo": 4.0}, "b.z": {"host": 1.0, "vireo": 99.0}}

        figure, worst, worst_ratio, met = row.judge(measures)

        self.assertAlmostEqual(figure, 2.0)
        self.assertEqual((worst, worst_ratio, met), ("a.y", 4.0, True))

    def test_one_measure_above_the_limit_misses_the_row(self):
        row = Row("title", ["a."], "host", reach=2.0, aim=1.5, limit=3.0)
        self.assertFalse(row.judge({"a.x": {"host": 1.0, "vireo": 0.5}, "a.y": {"host": 1.0, "vireo": 4.0}})[3])

    def test_a_speed_up_over_tcg_names_the_smallest_as_the_worst(self):
        row = Row("title", ["a."], "tcg", reach=4.0, aim=6.0)
        _, worst, worst_ratio, met = row.judge({"a.x": {"tcg": 10.0, "vireo": 2.0}, "a.y": {"tcg": 10.0, "vireo": 5.0}})
        self.assertEqual((worst, worst_ratio, met), ("a.y", 2.0, False))

    def test_a_row_without_figures_has_no_verdict(self):
        row = Row("title", ["a."], "tcg", reach=4.0, aim=6.0)
        self.assertIsNone(row.judge({"a.x": {"host": 1.0, "vireo": None}}))


class Outcomes(unittest.TestCase):
    def test_lines_are_found_between_messages_of_the_kernel(self):
        outcome = Outcome()
        outcome.take_line("[   3.1] random: crng init done@B integer.fib 1.5 ns 10 00000000000000ff ;\r", 0.0)
        self.assertEqual(outcome.values, {"integer.fib": (1.5, "00000000000000ff")})

    def test_a_line_that_was_torn_counts_for_nothing(self):
        outcome = Outcome()
        outcome.take_line("@B integer.fib 1.[   3.1] random: crng init done", 0.0)
        self.assertEqual(outcome.values, {})

    def test_two_checksums_of_one_measure_are_a_failure(self):
        outcome = Outcome()
        outcome.take_line("@B program.xz 5 ns 1 0000000000000001 ;", 0.0)
        outcome.take_line("@B program.xz 4 ns 1 0000000000000002 ;", 0.0)
        self.assertEqual(len(outcome.failures), 1)


if __name__ == "__main__":
    unittest.main()
