package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/farmspec/farmspec/targetfile"
)

// openSource reads a target file. What is wrong with it is told a line each.
func openSource(path string) (*targetfile.Source, error) {
	source, err := targetfile.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Ext(path) == "":
		return nil, usageError(fmt.Errorf("unknown target %q: want reference or a target file%s; `farmspec init` writes one to start from", path, meant(path, []string{"reference"})))
	case err != nil:
		return nil, usageError(err)
	}
	return source, nil
}
