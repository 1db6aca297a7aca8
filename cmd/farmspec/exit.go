package main

import "github.com/farmspec/farmspec"

// exitError ends the command with a code, one of the farmspec.Exit constants.
// A nil Err means that everything has been said. Hint, when set, is one line
// on how to mend it.
type exitError struct {
	Code int
	Err  error
	Hint string
}

func (e *exitError) Error() string {
	switch {
	case e.Err == nil:
		return ""
	case e.Hint == "":
		return e.Err.Error()
	}
	return e.Err.Error() + "\n" + e.Hint
}

func (e *exitError) Unwrap() error { return e.Err }

// usageError is a wrong flag, file or wish: nothing was done.
func usageError(err error) error { return &exitError{Code: farmspec.ExitUsage, Err: err} }
