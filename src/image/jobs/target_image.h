#pragma once

#include "image/jobs/job_spec.h"
#include "image/jobs/open_disk.h"

namespace vireo::image {

/// The image that a job writes to. Beside one that it makes lies FILE.vireo-job until it is whole, so that what
/// an interrupted job left is known as such.
class TargetImage {
 public:
  struct Request {
    std::string_view kind;  // of the job
    std::string disk;       // the image that the job copies
    u64 bytes{};
    std::string format{};  // when the target says none
    CacheMode cache{};
    bool track_changes{};
    bool resume{};
  };
  static Result<TargetImage> open(JobTarget const& target, Request const& request);
  TargetImage(TargetImage&&) = default;

  DiskSource const& source() const { return disk_.source(); }
  BlockImage& image() { return *disk_.image(); }
  /// It may hold something of the disk already.
  bool compare() const { return compare_; }
  std::string const& note() const { return note_; }
  /// It is whole: the record goes.
  Result<> finish();
  /// What was made goes.
  void remove();
  OpenDisk take() { return std::move(disk_); }
  void close() { disk_.close_image(); }

 private:
  TargetImage() = default;
  OpenDisk disk_;
  std::string record_;  // empty: the image was there before
  bool compare_{};
  std::string note_;
};

std::string job_record(std::string const& path);
/// What an interrupted job's record says: "mirror of /disks/a.qcow2"; empty: there is none.
std::string read_job_record(std::string const& path);
Result<> write_job_record(std::string const& path, std::string_view kind, std::string const& disk);
/// On stable storage: it does not come back after a power loss.
Result<> remove_job_record(std::string const& path);
void remove_image_files(std::string const& path, std::string const& format);

}  // namespace vireo::image
