#include "image/jobs/target_image.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "image/backend.h"
#include "image/storage.h"

namespace vireo::image {
namespace {

std::string absolute(std::string const& path) {
  auto failure = std::error_code{};
  return is_url(path) ? path : std::filesystem::absolute(path, failure).lexically_normal().string();
}

std::string content_of(std::string_view kind, std::string const& disk) {
  return fmt::format("{} of {}", kind, absolute(disk));
}

}  // namespace

std::string job_record(std::string const& path) { return path + ".vireo-job"; }

std::string read_job_record(std::string const& path) {
  if (is_url(path)) return {};
  auto text = host::read_text(job_record(path), 64 * 1024).value_or("");
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<> write_job_record(std::string const& path, std::string_view kind, std::string const& disk) {
  if (is_url(path)) return {};  // there is no place beside it
  return host::write_text(job_record(path), content_of(kind, disk) + "\n");
}

Result<> remove_job_record(std::string const& path) {
  if (is_url(path)) return {};
  ::unlink(job_record(path).c_str());
  auto failure = std::error_code{};
  auto const folder = std::filesystem::absolute(path, failure).parent_path().string();
  return host::sync_folder(folder);
}

void remove_image_files(std::string const& path, std::string const& format) {
  auto const description = describe_image(path, format);
  Storage::remove(path);
  if (!description) return;
  for (auto const& name : description->files) {
    if (name != path) Storage::remove(name);
  }
  if (!description->data_file.empty()) Storage::remove(description->data_file);
}

Result<TargetImage> TargetImage::open(JobTarget const& target, Request const& request) {
  auto made = TargetImage{};
  auto const format = !target.format.empty() || target.exists ? target.format : request.format;
  auto const source = DiskSource{.path = target.path,
                                 .format = format,
                                 .cache = request.cache,
                                 .follow_references = true,
                                 .track_changes = request.track_changes};
  if (target.exists) {
    made.compare_ = request.resume;
    if (request.resume) made.note_ = "goes on by comparing";
    made.disk_ = TRY(OpenDisk::open(source));
  } else {
    auto const record = read_job_record(target.path);
    auto const mine = record == content_of(request.kind, request.disk);
    if (!record.empty() && !(mine && request.resume)) {
      return fail(Errc::busy,
                  fmt::format("{}: is what an interrupted {} left; resume that one, or remove it and {}",
                              target.path, record, job_record(target.path)));
    }
    if (record.empty()) TRY(write_job_record(target.path, request.kind, request.disk));
    auto failure = std::error_code{};
    if (!record.empty() && std::filesystem::exists(target.path, failure)) {
      if (auto opened = OpenDisk::open(source); opened && opened->image()->geometry().bytes >= request.bytes) {
        made.disk_ = *std::move(opened);
        made.compare_ = true;
        made.note_ = "goes on by comparing";
      } else {
        remove_image_files(target.path, format);  // not even made
      }
    }
    if (!made.compare_) {
      if (request.resume) made.note_ = "starts anew: nothing is left of an interrupted one";
      auto const created = create_image({.path = target.path,
                                         .format = format,
                                         .bytes = request.bytes,
                                         .backing = target.backing,
                                         .options = target.options});
      if (!created && created.error().code() == Errc::busy) ::unlink(job_record(target.path).c_str());
      TRY(created);
      auto opened = OpenDisk::open(source);
      if (!opened) {
        remove_image_files(target.path, format);
        ::unlink(job_record(target.path).c_str());
      }
      made.disk_ = TRY(std::move(opened));
    }
    made.record_ = target.path;
  }
  if (made.image().geometry().bytes >= request.bytes) return made;
  return fail(Errc::no_space, fmt::format("{}: its disk of {} bytes is too small for one of {}", target.path,
                                          made.image().geometry().bytes, request.bytes));
}

Result<> TargetImage::finish() { return record_.empty() ? Result<>{} : remove_job_record(record_); }

void TargetImage::remove() {
  disk_.close_image();
  if (record_.empty()) return;
  remove_image_files(record_, disk_.source().format);
  ::unlink(job_record(record_).c_str());
}

}  // namespace vireo::image
