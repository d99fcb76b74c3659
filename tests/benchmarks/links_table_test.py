"""benchmarks/links_table.py: where a method stops hiding its traffic. Needs Python alone."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))

import links_table


def line(gigabytes: float | None, median: float, shared: bool = False, ranks: int = 2) -> dict:
    return {
        "method": "pcpp", "partial": 0.3, "ranks": ranks, "size": "256x256", "guidance": "batched",
        "link": gigabytes and f"{gigabytes}GB/s", "step_ms": {"median": median},
        "link_bytes_per_second": gigabytes and gigabytes * 1e9,
        "link_shared": None if gigabytes is None else shared,
        "bytes_per_step": {"attention": 1e6, "halo": 5e5, "group_norm": 0, "gather": 0},
    }  # fmt: skip


class LinksTableTest(unittest.TestCase):
    def test_interpolates_over_the_inverse_of_the_bandwidth(self) -> None:
        # 100 ms hidden, limit 105: between 0.5 GB/s (101 ms, inverse 2) and 0.25 (121, inverse 4) it
        # is crossed at a fifth, inverse 2.4.
        links = [line(1, 100), line(0.5, 101), line(0.25, 121), line(0.1, 300)]
        self.assertEqual(links_table.hiding_bandwidth(line(None, 100), links), "0.417")

    def test_gives_bounds_where_the_list_of_links_ends(self) -> None:
        memory = line(None, 100)
        self.assertEqual(links_table.hiding_bandwidth(memory, [line(1, 106)]), "above 1")
        self.assertEqual(links_table.hiding_bandwidth(memory, [line(1, 99), line(0.5, 105)]),
                         "below 0.5")  # fmt: skip

    def test_compares_a_line_with_its_own_combination_and_kind_of_link(self) -> None:
        lines = [line(0.5, 9, ranks=4), line(0.1, 2), line(None, 1), line(2, 3, shared=True),
                 line(None, 5, ranks=4), line(1, 1)]  # fmt: skip
        series = [(memory["ranks"], [links_table.median_ms(link) for link in links])
                  for memory, links in links_table.series_of(lines)]  # fmt: skip
        self.assertEqual(series, [(2, [1, 2]), (2, [3]), (4, [9])])


if __name__ == "__main__":
    unittest.main()
