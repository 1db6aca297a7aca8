package saml

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Link ties a session of here to one at the provider.
type Link struct {
	// NameID and Index are the provider's: the subject and the session index.
	NameID, Index string
	// Ref names the session of here.
	Ref string
	// Until is when the provider's session ends by itself; zero is never.
	Until time.Time
}

// Ended is a log-out that was received: it also covers what arrives later
// (Core 3.7.3.1).
type Ended struct {
	// NameID is the subject; empty where the sessions' indexes say enough.
	NameID string
	// Indexes are the sessions; none means all of the subject's.
	Indexes []string
	// At is the request's instant, Until its NotOnOrAfter.
	At, Until time.Time
}

// covers reports whether the log-out applies to a session that began then. By
// the letter a request that names no session would refuse a new log-in too, as
// long as it is valid; here it covers who had signed in when it was made.
func (e Ended) covers(nameID, index string, began time.Time) bool {
	return e.names(nameID, index) && (len(e.Indexes) > 0 || !began.After(e.At))
}

func (e Ended) names(nameID, index string) bool {
	if e.NameID == "" && len(e.Indexes) == 0 {
		return false // nobody
	}
	return (e.NameID == "" || e.NameID == nameID) && (len(e.Indexes) == 0 || slices.Contains(e.Indexes, index))
}

// Memory is what a participant must not forget: all its processes share one.
// All methods are safe for concurrent use. The instants passed as now let it
// forget what is over.
type Memory interface {
	// Once remembers a message's ID until then, and reports whether it is new.
	Once(id string, now, until time.Time) bool
	// Ask remembers a request that is being sent; Asked takes it back and
	// reports whether it was there, so each is answered once.
	Ask(id string, now, until time.Time)
	Asked(id string, now time.Time) bool

	// Link remembers a link for an hour beyond its end.
	Link(l Link, now time.Time)
	// Unlink takes the link of a session away and returns it.
	Unlink(ref string) (Link, bool)
	// Linked returns the link of a session; Links are those a log-out names.
	Linked(ref string) (Link, bool)
	Links(e Ended) []Link

	// End remembers a log-out; HasEnded reports whether one covers a session
	// that began then.
	End(e Ended, now time.Time)
	HasEnded(nameID, index string, began, now time.Time) bool
}

type memory struct {
	mu          sync.Mutex
	seen, asked map[string]time.Time
	links       map[string]Link // by Ref
	ended       []Ended
}

// NewMemory returns a Memory that lasts as long as the process.
func NewMemory() Memory {
	return &memory{seen: make(map[string]time.Time), asked: make(map[string]time.Time), links: make(map[string]Link)}
}

func (m *memory) Once(id string, now, until time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	forget(m.seen, now)
	if _, again := m.seen[id]; again {
		return false
	}
	m.seen[id] = until
	return true
}

// forget drops what is over. Both maps hold what minutes bring, so going
// through them at each call costs little.
func forget(m map[string]time.Time, now time.Time) {
	maps.DeleteFunc(m, func(_ string, until time.Time) bool { return !now.Before(until) })
}

func (m *memory) Ask(id string, now, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	forget(m.asked, now)
	m.asked[id] = until
}

func (m *memory) Asked(id string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.asked[id]
	delete(m.asked, id)
	return ok && now.Before(until)
}

func (m *memory) Link(l Link, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.links, func(_ string, l Link) bool { return !l.Until.IsZero() && now.Sub(l.Until) > time.Hour })
	m.links[l.Ref] = l
}

func (m *memory) Unlink(ref string) (Link, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.links[ref]
	delete(m.links, ref)
	return l, ok
}

func (m *memory) Linked(ref string) (Link, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.links[ref]
	return l, ok
}

func (m *memory) Links(e Ended) []Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Link
	for _, l := range m.links {
		if e.names(l.NameID, l.Index) {
			all = append(all, l)
		}
	}
	return all
}

func (m *memory) End(e Ended, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = slices.DeleteFunc(m.ended, func(e Ended) bool { return !now.Before(e.Until) })
	m.ended = append(m.ended, e)
}

func (m *memory) HasEnded(nameID, index string, began, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.ended, func(e Ended) bool { return now.Before(e.Until) && e.covers(nameID, index, began) })
}
