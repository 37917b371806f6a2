// SQLite, linked statically: rows are inserted, scanned and grouped, and found by prepared queries.
#include "harness.h"

#if __has_include(<sqlite3.h>)
#  include <sqlite3.h>
#  include <unistd.h>

#  include <array>
#  include <cstdio>
#  include <cstdlib>
#  include <string>

namespace bench {
namespace {

sqlite3* database;
constexpr int rows{20'000};
constexpr int queries{3'000};

void execute(char const* text) {
  char* error{};
  if (sqlite3_exec(database, text, nullptr, nullptr, &error) == SQLITE_OK) return;
  std::printf("@F sqlite: %s ;\n", error);
  std::fflush(stdout);
  _exit(1);
}

sqlite3_stmt* prepare(char const* text) {
  sqlite3_stmt* statement{};
  if (sqlite3_prepare_v2(database, text, -1, &statement, nullptr) == SQLITE_OK) return statement;
  std::printf("@F sqlite: %s ;\n", sqlite3_errmsg(database));
  std::fflush(stdout);
  _exit(1);
}

uint64_t insert_rows() {
  if (database != nullptr) sqlite3_close(database);
  sqlite3_open(":memory:", &database);
  execute("CREATE TABLE part(id INTEGER PRIMARY KEY, name TEXT, kind INTEGER, price REAL)");
  execute("CREATE INDEX part_name ON part(name)");
  execute("BEGIN");
  auto* const insert = prepare("INSERT INTO part(name, kind, price) VALUES(?, ?, ?)");
  uint64_t state{91};
  for (int i{0}; i < rows; ++i) {
    auto const random = next_random(state);
    auto const name = "part-" + std::to_string(random % 100'000) + "-" + std::to_string(i % 7);
    sqlite3_bind_text(insert, 1, name.c_str(), static_cast<int>(name.size()), SQLITE_TRANSIENT);
    sqlite3_bind_int(insert, 2, static_cast<int>(random >> 20 & 63));
    sqlite3_bind_double(insert, 3, static_cast<double>(random >> 40) / 16);
    sqlite3_step(insert);
    sqlite3_reset(insert);
  }
  sqlite3_finalize(insert);
  execute("COMMIT");
  return static_cast<uint64_t>(sqlite3_total_changes(database));
}

void fill_database() { insert_rows(); }

uint64_t scan_and_group() {
  auto* const select = prepare(
      "SELECT kind, count(*), sum(price), max(name) FROM part WHERE name LIKE '%7%' GROUP BY kind ORDER BY 3");
  uint64_t sum{0};
  while (sqlite3_step(select) == SQLITE_ROW)
    sum = mix(sum, static_cast<uint64_t>(sqlite3_column_int64(select, 1)) +
                       static_cast<uint64_t>(sqlite3_column_double(select, 2)));
  sqlite3_finalize(select);
  return sum;
}

uint64_t prepared_queries() {
  auto* const select = prepare("SELECT id, price FROM part WHERE name >= ? ORDER BY name LIMIT 5");
  uint64_t state{93}, sum{0};
  for (int i{0}; i < queries; ++i) {
    auto const name = "part-" + std::to_string(next_random(state) % 100'000);
    sqlite3_bind_text(select, 1, name.c_str(), static_cast<int>(name.size()), SQLITE_TRANSIENT);
    while (sqlite3_step(select) == SQLITE_ROW) sum += static_cast<uint64_t>(sqlite3_column_int64(select, 0));
    sqlite3_reset(select);
  }
  sqlite3_finalize(select);
  return sum;
}

constexpr std::array workloads{
    Workload{"program.sqlite_insert", rows, insert_rows},
    Workload{"program.sqlite_scan", rows, scan_and_group, fill_database},
    Workload{"program.sqlite_queries", queries, prepared_queries, fill_database},
};

}  // namespace

std::span<Workload const> database_workloads() { return workloads; }

}  // namespace bench

#else

namespace bench {
std::span<Workload const> database_workloads() { return {}; }
}  // namespace bench

#endif
