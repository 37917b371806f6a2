#include "image/jobs/mirror_loop.h"

#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 longest_standstill{8 * MiB};  // what is copied while the disk stands still
constexpr int most_rounds{10};

/// Yields false when too much was left to be copied with the disk standing still.
Result<bool> finish(MirrorRun const& run, JobControl& control, bool pivots, bool at_any_price) {
  return run.disk.exclusively([&](LiveDisk::Inside& inside) -> Result<bool> {
    if (!at_any_price && run.filter.dirty_bytes() > longest_standstill) return false;
    if (inside.image() == nullptr) return fail(Errc::gone, "the disk is gone");
    TRY(run.filter.copy_rest(*inside.image()));
    TRY(pivots ? run.pivot(inside) : run.detach(inside));
    if (!pivots) control.note("the target holds the disk as it was when this was cancelled");
    inside.remove(&run.filter);
    return true;
  });
}

/// Once round: how far it is. True: it is over.
Result<bool> step(MirrorRun& run, JobControl& control, u64 total) {
  if (auto error = run.filter.take_error()) return std::unexpected{*std::move(error)};
  auto const copied = TRY(run.filter.copy_next(run.disk, run.compare));
  if (!control.is_ready()) control.progress(total - std::min(total, run.filter.dirty_bytes()), total);
  if (!run.filter.synchronous() && (copied == 0 || run.filter.went_round())) {
    run.disk.exclusively([&](LiveDisk::Inside&) { run.filter.set_synchronous(true); });
    run.compare = false;
  }
  if (copied != 0) {
    if (control.is_ready()) return false;
    TRY(control.pace(copied));
    return false;
  }
  if (!control.is_ready()) {
    if (control.is_cancelled()) return fail(Errc::gone, "cancelled");
    control.ready();
  }
  if (!control.is_cancelled() && !control.is_to_complete()) {
    control.rest();
    return false;
  }
  for (auto round = 0; round < most_rounds; ++round) {
    if (TRY(finish(run, control, control.is_to_complete(), round + 1 == most_rounds))) return true;
    TRY(run.filter.copy_next(run.disk, false));
  }
  return true;
}

}  // namespace

Result<> run_mirror(MirrorRun run, JobControl& control) {
  auto const total = run.filter.dirty_bytes();
  control.progress(0, total);
  while (true) {
    auto over = step(run, control, total);
    if (over && *over) return {};
    if (over) continue;
    auto const cancelled = over.error().code() == Errc::gone && control.is_cancelled();
    if (cancelled || !run.filter.failed_at_target() || run.on_target_error == OnTargetError::fail) {
      return std::unexpected{std::move(over).error()};
    }
    run.disk.exclusively([&](LiveDisk::Inside&) { run.filter.set_synchronous(false); });
    // Writes beside the one that failed met the same trouble; what they left is marked, and copied after the
    // pause.
    static_cast<void>(run.filter.take_error());
    TRY(control.pause(over.error()));
  }
}

}  // namespace vireo::image
