package loadtest

import "github.com/farmspec/farmspec"

// Fast is the engine for speed, on Linux: HTTP/1.1 over plain TCP, written and
// read without net/http, by one event loop in which each page view is a
// coroutine.
type Fast struct{}

func (Fast) String() string { return "fast" }

func (Fast) wire(t *farmspec.Target, browsers int, keep bool) (wire, error) {
	return newFastWire(t, keep) // its connections are as many as are in use at once
}
