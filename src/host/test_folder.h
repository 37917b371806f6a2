#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace vireo::host {

/// For tests: a folder of its own that vanishes with the object.
class TestFolder {
 public:
  TestFolder() {
    auto name = (std::filesystem::temp_directory_path() / "vireo-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  TestFolder(TestFolder const&) = delete;
  ~TestFolder() {
    auto ignored = std::error_code{};
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(std::string const& name) const { return path_ + "/" + name; }
  std::string const& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace vireo::host
