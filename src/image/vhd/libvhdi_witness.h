#pragma once

#include "image/testing/random_disk.h"

namespace vireo::image::testing {

/// As libvhdi reads it, with the parents behind, nearest first.
inline void expect_same_as_libvhdi_reads(TestFolder const& folder, std::vector<std::string> const& chain,
                                         Shadow const& shadow) {
  constexpr auto script = R"(
import pyvhdi, sys
files = []
for path in sys.argv[2:]:
    file = pyvhdi.file()
    file.open(path)
    files.append(file)
for child, parent in zip(files, files[1:]):
    child.set_parent(parent)
open(sys.argv[1], 'wb').write(files[0].read_buffer_at_offset(files[0].get_media_size(), 0))
)";
  auto arguments = std::vector<std::string>{"/usr/bin/python3", "-c", script, folder / "witness.raw"};
  arguments.insert(arguments.end(), chain.begin(), chain.end());
  tool(std::move(arguments));
  auto const flat = host::read_text(folder / "witness.raw", 1 << 30);
  ASSERT_TRUE(flat);
  ASSERT_EQ(flat->size(), shadow.size());
  EXPECT_TRUE(std::memcmp(flat->data(), shadow.data(), shadow.size()) == 0);
}

}  // namespace vireo::image::testing
