#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>

#include "cli/image_arguments.h"
#include "cli/qemu_img.h"
#include "image/open_image.h"
#include "image/operations/resize.h"
#include "vocab/numbers.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

constexpr u64 largest_request{0x7ffffe00};

/// "1 MiB", "64 KiB", "2.062 MiB".
std::string size_text(double bytes) {
  static constexpr auto units =
      std::to_array<std::string_view>({"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"});
  auto unit = std::size_t{0};
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  auto number = fmt::format("{:.3f}", bytes);
  if (number.ends_with(".000")) number.resize(number.size() - 4);
  return fmt::format("{} {}", number, units[unit]);
}

/// One request: its switches, where and how long.
struct Request {
  bool quiet{};
  bool verbose{};
  bool zeroes{};
  bool unmap{};
  bool compressed{};
  bool flush{};
  bool has_pattern{};
  u64 pattern{0xcd};
  u64 at{};
  u64 length{};
};

class Session {
 public:
  Session(std::string path, image::OpenOptions options, std::string format)
      : path_{std::move(path)}, options_{options}, format_{std::move(format)} {
    options_.format = format_;
  }

  Result<> open() {
    disk_ = TRY(image::open_image(path_, options_));
    return {};
  }
  bool done() const { return done_; }

  Result<> run(std::string const& line) {
    auto words = Words{};
    auto stream = std::istringstream{line};
    for (auto word = std::string{}; stream >> word;) words.push_back(word);
    if (words.empty()) return {};
    auto const& name = words[0];
    if (name == "quit" || name == "q") {
      done_ = true;
      return {};
    }
    if (name == "sleep" || name == "aio_flush" || name == "help") return {};
    if (name == "open") {
      path_ = words.back();
      return open();
    }
    if (name == "close") {
      disk_.reset();
      return {};
    }
    if (!disk_) return fail(Errc::invalid, "no file open, try 'help open'");
    if (name == "flush" || name == "f") return disk_->flush();
    if (name == "length" || name == "l") {
      fmt::print("{}\n", size_text(static_cast<double>(disk_->geometry().bytes)));
      return {};
    }
    if (name == "truncate") return truncate(words);
    if (name == "map") return map();
    if (name == "alloc" || name == "a") return allocated(words);
    if (name == "info" || name == "i") {
      fmt::print("format name: {}\n", format_);
      return {};
    }
    if (name == "read" || name == "r" || name == "readv" || name == "aio_read") return read(words);
    if (name == "write" || name == "w" || name == "writev" || name == "aio_write") return write(words);
    if (name == "discard" || name == "d") return discard(words);
    return fail(Errc::invalid, fmt::format("command \"{}\" not found", name));
  }

 private:
  Result<u64> number(std::string const& text) const {
    if (text.starts_with("0x") || text.starts_with("0X")) {
      auto end = std::size_t{0};
      try {
        return std::stoull(text, &end, 16);
      } catch (std::exception const&) {
        return fail(Errc::invalid, fmt::format("non-numeric length argument -- {}", text));
      }
    }
    return parse_size(text);
  }

  Result<Request> parse_request(Words const& words) const {
    auto request = Request{};
    auto places = Words{};
    for (auto index = std::size_t{1}; index < words.size(); ++index) {
      auto const& word = words[index];
      if (word.size() < 2 || word[0] != '-') {
        places.push_back(word);
        continue;
      }
      for (auto letter = std::size_t{1}; letter < word.size(); ++letter) {
        switch (word[letter]) {
          case 'q': request.quiet = true; break;
          case 'v': request.verbose = true; break;
          case 'z': request.zeroes = true; break;
          case 'u': request.unmap = true; break;
          case 'c': request.compressed = true; break;
          case 'f': request.flush = true; break;
          case 'C':
          case 'p':
          case 'n':
          case 'b': break;
          case 'P':
          case 's':
          case 'l':
          case 'S': {
            auto const rest = word.substr(letter + 1);
            auto const is_pattern = word[letter] == 'P';
            if (rest.empty() && index + 1 == words.size()) return fail(Errc::invalid, "a value is missing");
            auto const value = rest.empty() ? words[++index] : rest;
            if (!is_pattern) return fail(Errc::unsupported, fmt::format("-{} is not supported", word[letter]));
            request.pattern = TRY(number(value));
            request.has_pattern = true;
            letter = word.size();
            break;
          }
          default: return fail(Errc::invalid, fmt::format("invalid option -- '{}'", word[letter]));
        }
      }
    }
    if (places.size() < 2)
      return fail(Errc::invalid,
                  fmt::format("bad argument count {} to {}, expected at least 2", places.size(), words[0]));
    request.at = TRY(number(places[0]));
    for (auto index = std::size_t{1}; index < places.size(); ++index)
      request.length += TRY(number(places[index]));
    if (request.length > largest_request && !request.zeroes && words[0] != "discard" && words[0] != "d") {
      return fail(Errc::invalid, fmt::format("length cannot exceed {}, given {}", largest_request, places[1]));
    }
    return request;
  }

  void report(std::string_view what, Request const& request, u64 start) const {
    if (request.quiet) return;
    auto const seconds = std::max(static_cast<double>(host::monotonic_ns() - start) / 1e9, 1e-9);
    auto const bytes = static_cast<double>(request.length);
    fmt::print("{} {}/{} bytes at offset {}\n{}, 1 ops; {:05.2f} sec ({}/sec and {:.4f} ops/sec)\n", what,
               request.length, request.length, request.at, size_text(bytes), seconds,
               size_text(bytes / seconds), 1 / seconds);
  }

  Result<> read(Words const& words) {
    auto const request = TRY(parse_request(words));
    auto buffer = std::vector<std::byte>(request.length);
    auto const start = host::monotonic_ns();
    auto const outcome = disk_->read(request.at, buffer);
    if (!outcome) return fail(outcome.error().code(), "read failed: " + reason(outcome.error()));
    auto const wanted = static_cast<std::byte>(request.pattern);
    auto const equal = std::ranges::all_of(buffer, [&](std::byte each) { return each == wanted; });
    if (request.verbose) dump(request.at, buffer);
    auto const wrong = request.has_pattern && !equal;
    if (wrong) fmt::print("Pattern verification failed at offset {}, {} bytes\n", request.at, request.length);
    report("read", request, start);
    failed_ = failed_ || wrong;
    return {};
  }

  Result<> write(Words const& words) {
    auto const request = TRY(parse_request(words));
    auto const start = host::monotonic_ns();
    auto const outcome = [&]() -> Result<> {
      if (request.zeroes) return disk_->write_zeroes(request.at, request.length, request.unmap);
      auto const buffer = std::vector<std::byte>(request.length, static_cast<std::byte>(request.pattern));
      TRY(request.compressed ? disk_->write_compressed(request.at, buffer) : disk_->write(request.at, buffer));
      return request.flush ? disk_->flush() : Result<>{};
    }();
    if (!outcome) return fail(outcome.error().code(), "write failed: " + reason(outcome.error()));
    report("wrote", request, start);
    return {};
  }

  Result<> discard(Words const& words) {
    auto const request = TRY(parse_request(words));
    auto const start = host::monotonic_ns();
    auto const outcome = disk_->discard(request.at, request.length);
    if (!outcome) return fail(outcome.error().code(), "discard failed: " + reason(outcome.error()));
    report("discard", request, start);
    return {};
  }

  Result<> truncate(Words const& words) {
    if (words.size() < 2) return fail(Errc::invalid, "bad argument count 0 to truncate, expected 1");
    auto const bytes = TRY(number(words.back()));
    disk_.reset();
    auto const outcome = image::resize_image(
        {.path = path_, .format = format_, .bytes = bytes, .shrink = true, .follow_references = true});
    TRY(open());
    return outcome;
  }

  Result<> map() {
    auto const bytes = disk_->geometry().bytes;
    for (auto at = u64{0}; at < bytes;) {
      auto const first = TRY(disk_->extent_at(at));
      auto const data = first.presence == image::BlockImage::Presence::data;
      auto end = at + first.length;
      while (end < bytes) {
        auto const next = TRY(disk_->extent_at(end));
        if ((next.presence == image::BlockImage::Presence::data) != data) break;
        end += next.length;
      }
      fmt::print("{} ({:#x}) bytes {} allocated at offset {} ({:#x})\n",
                 size_text(static_cast<double>(end - at)), end - at, data ? "   " : "not",
                 size_text(static_cast<double>(at)), at);
      at = end;
    }
    return {};
  }

  Result<> allocated(Words const& words) {
    if (words.size() < 2) return fail(Errc::invalid, "bad argument count 0 to alloc, expected 1 or 2");
    auto const from = TRY(number(words[1]));
    auto const count = words.size() > 2 ? TRY(number(words[2])) : u64{512};
    auto sum = u64{0};
    for (auto at = from; at < from + count;) {
      auto const extent = TRY(disk_->extent_at(at));
      auto const length = std::min(extent.length, from + count - at);
      if (extent.presence == image::BlockImage::Presence::data) sum += length;
      at += length;
    }
    fmt::print("{}/{} bytes allocated at offset {}\n", sum, count, size_text(static_cast<double>(from)));
    return {};
  }

  static void dump(u64 at, ConstBytes bytes) {
    for (auto start = std::size_t{0}; start < bytes.size(); start += 16) {
      auto text = std::string{};
      fmt::print("{:08x}:  ", at + start);
      for (auto const each : bytes.subspan(start, std::min<std::size_t>(16, bytes.size() - start))) {
        auto const value = std::to_integer<unsigned char>(each);
        fmt::print("{:02x} ", value);
        text += value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
      }
      fmt::print(" {}\n", text);
    }
  }

  static std::string reason(Error const& error) {
    switch (error.code()) {
      case Errc::invalid: return "Input/output error";
      case Errc::denied: return "Operation not permitted";
      case Errc::no_space: return "No space left on device";
      default: return error.what();
    }
  }

 public:
  bool failed_{};

 private:
  std::string path_;
  image::OpenOptions options_;
  std::string format_;
  std::unique_ptr<image::BlockImage> disk_{};
  bool done_{};
};

}  // namespace

int qemu_io(Arguments given) {
  auto commands = Words{};
  auto words = Words{};
  auto format = std::string{};
  auto cache = std::string{"writeback"};
  auto ignored = std::string{};
  auto read_only = false;
  auto flag = false;
  auto version = false;
  auto snapshot = false;
  auto direct = false;
  auto tool = ImageTool{.style = Style::qemu, .name = "qemu-io"};
  auto command = Command{.usage = "qemu-io [OPTION]... [-c COMMAND]... FILE",
                         .summary = "Reads and writes a disk image by commands.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"-c", "COMMAND", "run this", into(commands)},
                     {"--cmd", "COMMAND", "the same", into(commands)},
                     {"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"--format", "FORMAT", "the same", into(format)},
                     {"-r", "", "read only", into(read_only)},
                     {"--read-only", "", "the same", into(read_only)},
                     {"-n", "", "past the page cache", into(direct)},
                     {"-t", "CACHE", "the cache mode", into(cache)},
                     {"-d", "MODE", "taken and not used", into(ignored)},
                     {"-i", "AIO", "taken and not used", into(ignored)},
                     {"-s", "", "not supported", into(snapshot)},
                     {"-k", "", "taken and not used", into(flag)},
                     {"-C", "", "taken and not used", into(flag)},
                     {"-U", "", "taken and not used", into(flag)},
                     {"-V", "", "print the version", into(version)},
                     {"--version", "", "print the version", into(version)}};
  auto const taken = ImageArguments::take(given);
  if (!taken) return tool.failed(taken.error());
  auto const parsed = parse_tool(command, taken->rest());
  if (!parsed) return tool.failed(parsed.error());
  if (*parsed == Parsed::help_shown) return 0;
  if (version) {
    fmt::print("qemu-io version 7.2.0 (vireo)\n");
    return 0;
  }
  auto const mode = parse_cache(direct ? "none" : cache);
  if (!mode) return tool.failed(mode.error());
  if (snapshot) return tool.failed(Error{Errc::unsupported, "-s is not supported"});
  auto name = format_named(format);
  if (name.empty() && !words.empty()) {
    if (auto const found = image::probe_format(words[0])) name = *found;
  }
  auto session = Session{
      words.empty() ? "" : words[0], {.read_only = read_only, .cache = *mode, .follow_references = true}, name};
  if (!words.empty()) {
    if (auto const opened = session.open(); !opened)
      return tool.failed(Error{Errc::io, "can't open: " + opened.error().what()});
  }
  auto failed = false;
  auto const run = [&](std::string const& line) {
    auto const outcome = session.run(line);
    if (!outcome) fmt::print("{}\n", outcome.error().what());
    failed = failed || !outcome;
  };
  for (auto const& line : commands) {
    if (!session.done()) run(line);
  }
  if (commands.empty()) {
    for (auto line = std::string{}; !session.done(); run(line)) {
      fmt::print("qemu-io> ");
      std::fflush(stdout);
      if (!std::getline(std::cin, line)) break;
    }
  }
  return failed || session.failed_ ? 1 : 0;
}

}  // namespace vireo::cli
