package farmspec

import (
	"path"
	"strings"
)

// Match reports whether an ID or glob names the ID of a scenario, a
// requirement, a fault or a target. A * crosses a slash, and the ID of an
// outline stands for all its rows. The error is a malformed glob.
func Match(pattern, id string) (bool, error) {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(id, "/", "\x00"))
	return ok || strings.HasPrefix(id, pattern+"/"), err
}
