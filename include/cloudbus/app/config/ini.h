// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an ini text says, without a meaning yet: its sections in their order, their keys, and the line of each.
// inih splits the keys from the values; the lines, the sections and the errors are ours, because inih splits a long
// line in silence, cuts a section's name at 49 bytes and does not say where a section begins.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/app/config/source_line.h"

namespace cloudbus {

struct IniEntry {
  std::string key, value;  // both may be empty
  SourceLine line;
};

struct IniSection {
  std::string name;
  SourceLine line;
  bool damaged = false;  // a line of it could not be read: what seems to be missing may have stood there
  std::vector<IniEntry> entries;
};

struct LineError {
  SourceLine line;
  std::string text;
  std::string words{};  // of a line that has no key and value
};

struct IniText {
  std::vector<std::string> files;  // that were read, the first one first
  std::vector<IniSection> sections;
  std::vector<LineError> errors;
  int lines = 0;  // of the first file
};

// How files are found and read. Errors are texts; empty is none.
struct IniFiles {
  // The files that a pattern names, in the order of their names. Without a wildcard it is the path itself.
  std::function<std::vector<std::string>(const std::string& pattern)> find;
  std::function<std::string(const std::string& path, std::string& text)> read;
};

// How many bytes a line with a key may have: 4096, or what inih was built with where it fixes the length of its lines.
std::size_t longest_line();

// Takes any bytes. After 100 errors it reads no further, and says so. `name` stands for the text in `files`. The line
// `include = PATTERN` is replaced by the files that the pattern names; sections that begin in one of them end with it.
IniText read_ini(const std::string& name, std::string_view text, const IniFiles& files);

// The files of the system; a pattern is relative to the folder of the file that includes it. No more than 16 MiB are
// read in all.
IniFiles system_files();

}  // namespace cloudbus
