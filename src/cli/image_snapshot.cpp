#include <fmt/format.h>

#include "cli/image_text.h"
#include "cli/image_verbs.h"
#include "image/operations/snapshot.h"

namespace vireo::cli {
namespace {

enum class Action : u8 { list, create, apply, remove };

Result<> act(Action action, image::SnapshotTarget const& target, std::string const& name) {
  switch (action) {
    case Action::create: return image::create_snapshot(target, name);
    case Action::apply: return image::apply_snapshot(target, name);
    case Action::remove: return image::delete_snapshot(target, name);
    case Action::list: break;
  }
  auto const snapshots = TRY(image::list_snapshots(target));
  if (!snapshots.empty()) fmt::print("Snapshot list:\n{}", snapshot_table(snapshots));
  return {};
}

}  // namespace

/// "snapshot list FILE", "snapshot create FILE NAME", and qemu-img's -l, -c, -a, -d.
int image_snapshot(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto name = std::string{};
  auto action = Action::list;
  auto shared = false;
  auto quiet = false;
  auto target = image::SnapshotTarget{.follow_references = tool.follows()};
  auto by_option = false;
  auto const choose = [&](Action chosen) {
    return [&, chosen](std::string_view value) -> Result<> {
      action = chosen;
      name = value;
      by_option = true;
      return {};
    };
  };
  auto command =
      Command{.usage = "vireo image snapshot list|create|apply|delete FILE [NAME]",
              .summary =
                  "Keeps states of a disk. qcow2 holds them itself; for other formats they lie beside the\n"
                  "image in FILE.snapshots, which must travel with it.",
              .options = {},
              .positional = into(words)};
  command.options = {
      {"-l", "", "list", choose(Action::list)},
      {"-c", "NAME", "create", choose(Action::create)},
      {"-a", "NAME", "apply", choose(Action::apply)},
      {"-d", "NAME", "delete", choose(Action::remove)},
      {"-f", "FORMAT", "the image's format (found by looking)", into(format)},
      {"--follow-backing", "", "open the backing files that the image names", into(target.follow_references)},
      {"-q", "", "say nothing", into(quiet)},
      {"-U", "", "others may have it open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (!by_option && words.size() >= 2) {
      auto const& verb = words[0];
      if (verb != "list" && verb != "create" && verb != "apply" && verb != "delete") {
        return fail(Errc::invalid, fmt::format("'{}': list, create, apply or delete", verb));
      }
      action = verb == "create"   ? Action::create
               : verb == "apply"  ? Action::apply
               : verb == "delete" ? Action::remove
                                  : Action::list;
      if (action != Action::list && words.size() != 3)
        return fail(Errc::invalid, fmt::format("{} needs FILE and NAME", verb));
      if (words.size() == 3) name = words[2];
      words = {words[1]};
    }
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    target.path = words[0];
    target.format = format_named(format);
    return act(action, target, name);
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
