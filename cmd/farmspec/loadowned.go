package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/loadtest"
)

// A load looks like an attack to whoever runs the farm. Hosts that somebody has
// said to own are remembered, one a line, in farmspec/owned-hosts below the
// user's folder of configurations.

// owned reports whether a farm on other machines may be loaded: by the flag,
// or by an earlier one. The error says which hosts are in question.
func owned(t *farmspec.Target, flag bool) (bool, error) {
	var foreign []string
	for _, m := range t.Members {
		if u, err := url.Parse(m.URL); err == nil && !loadtest.Loopback(t, m) && !slices.Contains(foreign, u.Hostname()) {
			foreign = append(foreign, u.Hostname())
		}
	}
	if len(foreign) == 0 {
		return false, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return flag, nil // nothing can be remembered
	}
	path := filepath.Join(dir, "farmspec", "owned-hosts")
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, usageError(fmt.Errorf("read the hosts that may be loaded: %w", err))
	}
	known := strings.Fields(string(content))
	foreign = slices.DeleteFunc(foreign, func(host string) bool { return slices.Contains(known, host) })
	switch {
	case len(foreign) == 0:
		return true, nil
	case !flag:
		return false, usageError(fmt.Errorf("%s is not on this machine: load it only if you are allowed to, and say so with --i-own-this-target", strings.Join(foreign, ", ")))
	}
	// In a container there may be no place to remember it; the flag is there then.
	if os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = os.WriteFile(path, []byte(strings.Join(append(known, foreign...), "\n")+"\n"), 0o600)
	}
	return true, nil
}
