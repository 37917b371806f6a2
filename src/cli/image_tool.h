#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "cli/options.h"
#include "host/clock.h"
#include "image/cache_mode.h"
#include "image/operations/copy.h"

namespace vireo::cli {

/// The same verbs serve `vireo image` and scripts that call the program as qemu-img.
enum class Style : u8 { vireo, qemu };

struct ImageTool {
  Style style{};
  std::string name{};  // in front of errors: "vireo", "qemu-img"

  bool is_qemu() const { return style == Style::qemu; }
  /// qemu-img follows backing files always.
  bool follows() const { return is_qemu(); }
  /// Prints, and yields the exit status: 1 or, as vireo, 2 for a wrong command line.
  int failed(Error const& error) const;
  int failed(Result<> const& result) const { return result ? 0 : failed(result.error()); }
  std::string shown_format(std::string_view format) const;
};
using Words = std::vector<std::string>;
using Arguments = std::span<char const* const>;

/// Null: no such verb.
using ImageVerb = int (*)(ImageTool const&, Arguments);
ImageVerb find_image_verb(std::string_view name);
std::string image_verb_help();
std::vector<std::string_view> image_verb_names();

/// Like parse(), and takes short options in one word ("-pf raw", "-fraw").
Result<Parsed> parse_tool(Command const& command, Arguments arguments);

/// What options write to.
std::function<Result<>(std::string_view)> into(std::string& field);
std::function<Result<>(std::string_view)> into(Words& field);
std::function<Result<>(std::string_view)> into(bool& field);
std::function<Result<>(std::string_view)> into_size(u64& field);
std::function<Result<>(std::string_view)> into_number(u64& field);

/// The format by its user's name ("vpc" is vhd); empty stays empty, unknown ones stay for others to refuse.
std::string format_named(std::string_view name);
/// By the end of the file's name; raw when that says nothing.
std::string format_for(std::string const& path);
Result<image::CacheMode> parse_cache(std::string_view name);
/// "a=b,c=d" into options; a comma in a value is written twice.
Result<> add_options(std::map<std::string, std::string>& options, std::string_view text);
/// As qemu-img writes them: "1.5 GiB".
std::string human_size(u64 bytes);

/// qemu-img writes over what is there: a file goes, with the extents that are its own; a device stays.
void remove_old_image(std::string const& path);

/// How far a long operation is. As vireo: a bar with rate and time left, on a terminal or where it was asked
/// for.
class ProgressLine {
 public:
  ProgressLine(ImageTool const& tool, bool wanted);
  image::Report report();
  void finish() const;

 private:
  void print(image::Progress const& progress);
  bool qemu_;
  bool shown_;
  u64 start_{host::monotonic_ns()};
  u64 last_{};
};

}  // namespace vireo::cli
