// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an ini text says, without a meaning yet: its sections in their order, their keys, and the line of each.
// inih splits the keys from the values; the lines, the sections and the errors are ours, because inih splits a long
// line in silence, cuts a section's name at 49 bytes and does not say where a section begins.

#include <string>
#include <string_view>
#include <vector>

namespace cloudbus {

struct IniEntry {
  std::string key, value;  // both may be empty
  int line;
};

struct IniSection {
  std::string name;
  int line;
  bool damaged = false;  // a line of it could not be read: what seems to be missing may have stood there
  std::vector<IniEntry> entries;
};

struct LineError {
  int line;
  std::string text;
};

struct IniText {
  std::vector<IniSection> sections;
  std::vector<LineError> errors;
  int lines = 0;
};

// Takes any bytes. After 100 errors it reads no further, and says so.
IniText read_ini(std::string_view text);

}  // namespace cloudbus
