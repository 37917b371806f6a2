#include "cli/image_verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace vireo::cli {
namespace {

struct Entry {
  std::string_view name;
  std::string_view help;
  ImageVerb run;
};
constexpr auto verbs = std::array{
    Entry{"create", "make an empty disk image, or one over another", image_create},
    Entry{"info", "tell what an image is", image_info},
    Entry{"check", "look for damage and lost space, and mend it", image_check},
    Entry{"convert", "copy a disk to another format", image_convert},
    Entry{"resize", "make a disk longer or shorter", image_resize},
    Entry{"commit", "bring an image's content into the one behind it", image_commit},
    Entry{"rebase", "put another image behind an image", image_rebase},
    Entry{"map", "show where the parts of a disk lie", image_map},
    Entry{"compare", "compare two disks", image_compare},
    Entry{"measure", "tell how much space an image will take", image_measure},
    Entry{"bench", "measure an image's speed", image_bench},
    Entry{"amend", "change the options of an image", image_amend},
    Entry{"dd", "copy a part of a disk", image_dd},
    Entry{"bitmap", "record which parts of a disk change", image_bitmap},
    Entry{"snapshot", "keep states of a disk", image_snapshot},
};

}  // namespace

ImageVerb find_image_verb(std::string_view name) {
  auto const found = std::ranges::find(verbs, name, &Entry::name);
  return found == verbs.end() ? nullptr : found->run;
}

std::string image_verb_help() {
  auto text = std::string{};
  for (auto const& verb : verbs) text += fmt::format("  {:<10} {}\n", verb.name, verb.help);
  return text;
}

std::vector<std::string_view> image_verb_names() {
  auto names = std::vector<std::string_view>{};
  for (auto const& verb : verbs) names.push_back(verb.name);
  return names;
}

}  // namespace vireo::cli
