// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/environment.h"

#include <cctype>
#include <cstdlib>

namespace cloudbus {
namespace {

bool is_name(std::string_view text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text.front()))) return false;
  for (unsigned char c : text)
    if (!std::isalnum(c) && c != '_') return false;
  return true;
}

// What stands between `${` and `}`.
Parsed<std::string> look_up(std::string_view inside) {
  std::size_t end = inside.find(":-");
  std::string name(inside.substr(0, end));
  if (!is_name(name)) return {{}, quoted(name) + " is no name of a variable; write ${NAME} or ${NAME:-DEFAULT}"};
  const char* value = std::getenv(name.c_str());
  bool has_default = end != std::string_view::npos;
  if (has_default && (!value || !*value)) return {std::string(inside.substr(end + 2)), {}};
  if (!value) return {{}, "the environment has no " + name + "; set it, or write ${" + name + ":-DEFAULT}"};
  return {std::string(value), {}};
}

}  // namespace

Parsed<std::string> expand_environment(std::string_view value) {
  std::string result;
  while (true) {
    std::size_t dollar = value.find("${");
    if (dollar == std::string_view::npos) break;
    bool stays = dollar > 0 && value[dollar - 1] == '$';
    if (stays) {
      result.append(value.substr(0, dollar - 1)).append("${");
      value.remove_prefix(dollar + 2);
      continue;
    }
    result.append(value.substr(0, dollar));
    value.remove_prefix(dollar + 2);
    std::size_t end = value.find('}');
    if (end == std::string_view::npos) return {{}, "${ has no }; write ${NAME} or ${NAME:-DEFAULT}"};
    Parsed<std::string> found = look_up(value.substr(0, end));
    if (!found.value) return found;
    result += *found.value;
    value.remove_prefix(end + 1);
  }
  return {result.append(value), {}};
}

}  // namespace cloudbus
