#pragma once

#include "cli/image_tool.h"

// qemu-img's verbs, one function each: its options, its words, its exit statuses.
namespace vireo::cli {

int image_create(ImageTool const& tool, Arguments arguments);
int image_info(ImageTool const& tool, Arguments arguments);
int image_check(ImageTool const& tool, Arguments arguments);
int image_convert(ImageTool const& tool, Arguments arguments);
int image_resize(ImageTool const& tool, Arguments arguments);
int image_commit(ImageTool const& tool, Arguments arguments);
int image_rebase(ImageTool const& tool, Arguments arguments);
int image_map(ImageTool const& tool, Arguments arguments);
int image_compare(ImageTool const& tool, Arguments arguments);
int image_measure(ImageTool const& tool, Arguments arguments);
int image_bench(ImageTool const& tool, Arguments arguments);
int image_amend(ImageTool const& tool, Arguments arguments);
int image_dd(ImageTool const& tool, Arguments arguments);
int image_bitmap(ImageTool const& tool, Arguments arguments);
int image_snapshot(ImageTool const& tool, Arguments arguments);

}  // namespace vireo::cli
