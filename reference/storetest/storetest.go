// Package storetest checks an implementation of reference.Store against the
// whole contract, sentence by sentence, races included.
package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec/reference"
)

// TestStore runs every check on a store of its own, an empty one that open
// returns, and returns all violations joined, or nil. A store that is an
// io.Closer is closed afterwards. One that is a reference.Editor is checked as
// such too.
//
// A race that was won by luck is not seen: a nil result says that some hundred
// races were in order.
func TestStore(open func() (reference.Store, error)) error {
	var violations []error
	for _, c := range checks {
		violations = append(violations, run(c, open)...)
	}
	return errors.Join(violations...)
}

// TestDurable checks that what a store has acknowledged is there after it was
// closed and opened again. Stores of one name are the same database, which is
// empty when first opened. They have to be io.Closers.
func TestDurable(open func(name string) (reference.Store, error)) error {
	name := "durable"
	return errors.Join(run(check{name, func(r *runner) { r.durable(func() (reference.Store, error) { return open(name) }) }},
		func() (reference.Store, error) { return open(name) })...)
}

// Check is TestStore for a test: each violation is an error of t.
func Check(t testing.TB, open func() (reference.Store, error)) {
	t.Helper()
	for _, c := range checks {
		for _, err := range run(c, open) {
			t.Error(err)
		}
	}
}

// patience bounds one check; a store that hangs is a violation.
const patience = time.Minute

type check struct {
	name string
	f    func(*runner)
}

// checks are in the order of the contract.
var checks = []check{
	{"create", (*runner).create},
	{"unknown", (*runner).unknown},
	{"replace", (*runner).replace},
	{"replace refused", (*runner).replaceRefused},
	{"replace race", (*runner).replaceRace},
	{"replace against close", (*runner).replaceAgainstClose},
	{"close", (*runner).close},
	{"close race", (*runner).closeRace},
	{"open HTTP", (*runner).openHTTP},
	{"open HTTP race", (*runner).openHTTPRace},
	{"open HTTP against close", (*runner).openHTTPAgainstClose},
	{"save HTTP", (*runner).saveHTTP},
	{"save HTTP race", (*runner).saveHTTPRace},
	{"save HTTP after close", (*runner).saveHTTPAfterClose},
	{"end HTTP", (*runner).endHTTP},
	{"end HTTP race", (*runner).endHTTPRace},
	{"end HTTP against open HTTP", (*runner).endAgainstOpen},
	{"values", (*runner).values},
	{"not shared", (*runner).notShared},
	{"list", (*runner).list},
	{"disabled", (*runner).disabled},
	{"prune", (*runner).prune},
	{"editor", (*runner).editor},
}

func run(c check, open func() (reference.Store, error)) []error {
	store, err := open()
	if err != nil {
		return []error{fmt.Errorf("%s: open store: %w", c.name, err)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := &runner{ctx: ctx, name: c.name, store: store}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil && p != errStop {
				r.violated("the store panicked: %v", p)
			}
		}()
		c.f(r)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		r.violated("the check did not end within %v", patience)
		return r.taken() // the store is in use still: leave it
	}
	if closer, is := r.store.(io.Closer); is {
		if err := closer.Close(); err != nil {
			r.violated("close the store: %v", err)
		}
	}
	return r.taken()
}

// runner is one check under way.
type runner struct {
	ctx   context.Context
	name  string
	store reference.Store

	mu         sync.Mutex
	violations []error
	drawn      byte
	round      uint16
}

var errStop = errors.New("the check cannot go on")

func (r *runner) violated(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, fmt.Errorf("%s: %s", r.name, fmt.Sprintf(format, args...)))
}

func (r *runner) taken() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.violations
}

// must stops the check where its own preparation fails.
func (r *runner) must(what string, err error) {
	if err != nil {
		r.violated("%s: %v", what, err)
		panic(errStop)
	}
}

// want compares the outcome with the one the contract names.
func (r *runner) want(what string, err, want error) {
	if !errors.Is(err, want) {
		r.violated("%s: got %s, want %s", what, outcome(err), outcome(want))
	}
}

func outcome(err error) string {
	if err == nil {
		return "success"
	}
	return fmt.Sprintf("%q", err)
}

// id draws an ID that no other draw of this check has.
func (r *runner) id() (id reference.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drawn++; r.drawn == 0 {
		r.round++
	}
	// The varying bytes come first and last, so that neither a prefix nor a
	// suffix alone tells IDs apart for long.
	id[0], id[1], id[2], id[15] = r.drawn, byte(r.round), byte(r.round>>8), r.drawn
	id[7] = 0xfa
	return id
}

func (r *runner) token(at int64) reference.Token {
	return reference.Token{ID: r.id(), Timestamp: at}
}

// fresh is a session not yet created.
func (r *runner) fresh(user string, at int64) reference.SecuritySession {
	return reference.SecuritySession{Ref: r.id(), User: user, AuthenticatedAt: at, Current: r.token(at)}
}

// created is a session in the store.
func (r *runner) created() reference.SecuritySession {
	s := r.fresh("ada", 1000)
	r.must("Create", r.store.Create(r.ctx, s))
	return s
}

// http is an HTTP session not yet opened.
func (r *runner) http(application string) reference.HTTPSession {
	return reference.HTTPSession{ID: r.id(), Application: application, CreatedAt: 1100, LastAccess: 1100, Idle: 60_000,
		Version: 7, Attributes: map[string]string{"first": "1"}}
}

// opened opens one under the session.
func (r *runner) opened(ref reference.ID, application string) reference.HTTPSession {
	h := r.http(application)
	_, _, err := r.store.OpenHTTP(r.ctx, ref, h)
	r.must("OpenHTTP", err)
	return h
}

// stored compares what Load returns.
func (r *runner) stored(when string, want reference.SecuritySession) {
	got, err := r.store.Load(r.ctx, want.Ref)
	if err != nil {
		r.violated("Load %s: %v", when, err)
		return
	}
	r.same("Load "+when, got, want)
}

// found compares what Find returns for a session ID.
func (r *runner) found(when string, id reference.ID, want reference.SecuritySession) {
	got, err := r.store.Find(r.ctx, id)
	if err != nil {
		r.violated("Find %s: %v", when, err)
		return
	}
	r.same("Find "+when, got, want)
}

func (r *runner) same(what string, got, want reference.SecuritySession) {
	if d := difference(got, want); d != "" {
		r.violated("%s: %s", what, d)
	}
}

// difference names the fields that differ. The order of HTTP sessions and the
// difference between no attributes and none at all are the store's affair.
func difference(got, want reference.SecuritySession) string {
	var d []string
	field := func(name string, got, want any) {
		if got != want {
			d = append(d, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
	}
	field("Ref", got.Ref, want.Ref)
	field("User", got.User, want.User)
	field("AuthenticatedAt", got.AuthenticatedAt, want.AuthenticatedAt)
	field("Current", got.Current, want.Current)
	field("Previous", got.Previous, want.Previous)
	field("ClosedAt", got.ClosedAt, want.ClosedAt)
	field("Reason", got.Reason, want.Reason)
	field("number of HTTP sessions", len(got.HTTP), len(want.HTTP))
	if len(got.HTTP) == len(want.HTTP) {
		g, w := byApplication(got.HTTP), byApplication(want.HTTP)
		for i := range g {
			if diff := differenceHTTP(g[i], w[i]); diff != "" {
				d = append(d, diff)
			}
		}
	}
	return strings.Join(d, "; ")
}

func byApplication(list []reference.HTTPSession) []reference.HTTPSession {
	return slices.SortedFunc(slices.Values(list), func(a, b reference.HTTPSession) int {
		return cmp.Compare(a.Application, b.Application)
	})
}

func differenceHTTP(got, want reference.HTTPSession) string {
	g, w := got, want
	g.Attributes, w.Attributes = nil, nil
	if fmt.Sprint(g) != fmt.Sprint(w) {
		return fmt.Sprintf("HTTP session is %v, want %v", g, w)
	}
	if !maps.Equal(got.Attributes, want.Attributes) {
		return fmt.Sprintf("attributes of %q are %q, want %q", want.Application, got.Attributes, want.Attributes)
	}
	return ""
}

// The size of a race, and how often it is run: a fast store runs more rounds
// of it in the same time.
const (
	racers     = 16
	minRounds  = 12
	maxRounds  = 200
	roundsTime = 10 * time.Millisecond
)

func rounds(yield func(int) bool) {
	start := time.Now()
	for i := 0; i < minRounds || i < maxRounds && time.Since(start) < roundsTime; i++ {
		if !yield(i) {
			return
		}
	}
}

// race runs f n times at once and returns the errors by index. All start from
// a barrier, with a head start for some by chance.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("the store panicked: %v", p)
				}
			}()
			ready.Done()
			<-start
			for range rand.IntN(4) {
				runtime.Gosched()
			}
			errs[i] = f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return errs
}

func (r *runner) create() {
	s := r.created()
	r.stored("after Create", s)
	r.found("by the first session ID", s.Current.ID, s)

	same := r.fresh("bob", 1000)
	same.Ref = s.Ref
	if r.store.Create(r.ctx, same) == nil {
		r.violated("Create: a second session of one reference was added")
	}
	same = r.fresh("bob", 1000)
	same.Current.ID = s.Current.ID
	if r.store.Create(r.ctx, same) == nil {
		r.violated("Create: a second session of one session ID was added")
	}
	r.stored("after refused Creates", s)
	_, err := r.store.Load(r.ctx, same.Ref)
	r.want("Load of a session whose Create was refused", err, reference.ErrUnknown)
}

func (r *runner) unknown() {
	s := r.created()
	_, err := r.store.Find(r.ctx, r.id())
	r.want("Find", err, reference.ErrUnknown)
	_, err = r.store.Find(r.ctx, reference.ID{})
	r.want("Find of the zero ID", err, reference.ErrUnknown)
	_, err = r.store.Find(r.ctx, s.Ref)
	r.want("Find by a reference, which is no session ID", err, reference.ErrUnknown)
	_, err = r.store.Load(r.ctx, r.id())
	r.want("Load", err, reference.ErrUnknown)
	_, err = r.store.Load(r.ctx, s.Current.ID)
	r.want("Load by a session ID, which is no reference", err, reference.ErrUnknown)
	r.want("Replace", r.store.Replace(r.ctx, r.token(1000), r.token(1001)), reference.ErrUnknown)
	_, err = r.store.CloseSession(r.ctx, r.id(), reference.ByAdmin, 1001)
	r.want("CloseSession", err, reference.ErrUnknown)
	_, _, err = r.store.OpenHTTP(r.ctx, r.id(), r.http("shop"))
	r.want("OpenHTTP", err, reference.ErrUnknown)
	r.want("SaveHTTP", r.store.SaveHTTP(r.ctx, r.id(), "shop", 0, nil, 1001), reference.ErrUnknown)
	_, err = r.store.EndHTTP(r.ctx, r.id(), "shop", reference.ByApplication, 1001)
	r.want("EndHTTP", err, reference.ErrUnknown)
	r.stored("after calls for others", s)
}

func (r *runner) replace() {
	s, other := r.created(), r.created()
	s.HTTP = append(s.HTTP, r.opened(s.Ref, "shop"))
	var issued []reference.ID
	for i := range int64(5) {
		issued = append(issued, s.Current.ID)
		next := r.token(1001 + i/2) // equal timestamps are fine: the ID is new
		r.must("Replace the current token", r.store.Replace(r.ctx, s.Current, next))
		s.Previous, s.Current = s.Current, next
		r.stored("after Replace", s)
		r.found("by the new session ID", next.ID, s)
	}
	for _, id := range issued {
		r.found("by a spent session ID", id, s)
	}
	r.stored("of another session", other)
}

func (r *runner) replaceRefused() {
	s, other := r.created(), r.created()
	first := s.Current
	for i := range int64(2) {
		next := r.token(2000 + i)
		r.must("Replace", r.store.Replace(r.ctx, s.Current, next))
		s.Previous, s.Current = s.Current, next
	}
	refused := func(what string, old reference.Token, want ...error) {
		next := r.token(3000)
		err := r.store.Replace(r.ctx, old, next)
		if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
			r.violated("Replace of %s: got %s, want %q", what, outcome(err), want)
		}
		r.stored("after a refused Replace of "+what, s)
		_, err = r.store.Find(r.ctx, next.ID)
		r.want("Find of what a refused Replace offered", err, reference.ErrUnknown)
	}
	refused("the previous token", s.Previous, reference.ErrSpent)
	refused("an older token", first, reference.ErrSpent)
	for _, off := range []int64{-1, 1, -s.Current.Timestamp} {
		refused("the current ID with another timestamp", reference.Token{ID: s.Current.ID, Timestamp: s.Current.Timestamp + off}, reference.ErrMismatch)
	}
	refused("a spent ID with the current timestamp", reference.Token{ID: s.Previous.ID, Timestamp: s.Current.Timestamp}, reference.ErrSpent, reference.ErrMismatch)
	refused("a token never issued", r.token(s.Current.Timestamp), reference.ErrUnknown)

	if r.store.Replace(r.ctx, s.Current, reference.Token{ID: other.Current.ID, Timestamp: 3000}) == nil {
		r.violated("Replace by another session's ID succeeded")
	}
	r.stored("after Replace by a taken ID: what did not happen must not consume the token", s)
	r.stored("of the session whose ID was offered", other)

	_, err := r.store.CloseSession(r.ctx, s.Ref, reference.ByAdmin, 4000)
	r.must("CloseSession", err)
	s.ClosedAt, s.Reason = 4000, reference.ByAdmin
	refused("the last token of a closed session", s.Current, reference.ErrClosed)
	refused("a spent token of a closed session", first, reference.ErrClosed, reference.ErrSpent)
}

func (r *runner) replaceRace() {
	s := r.created()
	for range rounds {
		next := make([]reference.Token, racers)
		for i := range next {
			next[i] = r.token(2000)
		}
		errs := race(racers, func(i int) error { return r.store.Replace(r.ctx, s.Current, next[i]) })
		winner, won := -1, 0
		for i, err := range errs {
			if err == nil {
				winner = i
				won++
			} else {
				r.want("Replace that came second", err, reference.ErrSpent)
			}
		}
		if won != 1 {
			r.violated("%d of %d concurrent calls with one token succeeded, want exactly 1", won, racers)
			return
		}
		s.Previous, s.Current = s.Current, next[winner]
		r.stored("after the race", s)
		for i := range next {
			if i != winner {
				_, err := r.store.Find(r.ctx, next[i].ID)
				r.want("Find of what a losing Replace offered", err, reference.ErrUnknown)
			}
		}
	}
}

func (r *runner) replaceAgainstClose() {
	for range rounds {
		s := r.created()
		next := []reference.Token{r.token(2000), r.token(2001)}
		var closed bool
		errs := race(3, func(i int) (err error) {
			if i < 2 {
				return r.store.Replace(r.ctx, s.Current, next[i])
			}
			closed, err = r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, 2002)
			return err
		})
		r.must("CloseSession in a race", errs[2])
		if !closed {
			r.violated("CloseSession of an open session did not report that it closed it")
		}
		got, err := r.store.Load(r.ctx, s.Ref)
		r.must("Load", err)
		if got.Open() {
			r.violated("the session is open after CloseSession returned: a replacement in flight brought it back")
		}
		won := 0
		for i, err := range errs[:2] {
			switch {
			case err == nil:
				if won++; got.Current != next[i] {
					r.violated("a successful Replace is not stored")
				}
			case !errors.Is(err, reference.ErrClosed) && !errors.Is(err, reference.ErrSpent):
				r.violated("Replace against CloseSession: got %s, want success, spent or closed", outcome(err))
			}
		}
		if won > 1 {
			r.violated("%d calls with one token succeeded", won)
		}
		r.want("Replace after the close", r.store.Replace(r.ctx, got.Current, r.token(2003)), reference.ErrClosed)
	}
}

func (r *runner) close() {
	s, other := r.created(), r.created()
	first := s.Current
	next := r.token(1500)
	r.must("Replace", r.store.Replace(r.ctx, s.Current, next))
	s.Previous, s.Current = s.Current, next
	r.opened(s.Ref, "shop")
	r.opened(s.Ref, "mail")
	other.HTTP = append(other.HTTP, r.opened(other.Ref, "shop"))

	closed, err := r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, 2000)
	r.must("CloseSession", err)
	if !closed {
		r.violated("CloseSession of an open session did not report that it closed it")
	}
	s.ClosedAt, s.Reason = 2000, reference.ByLogout
	r.stored("after CloseSession, every HTTP session ended", s)
	r.found("of a closed session by its last ID", s.Current.ID, s)
	r.found("of a closed session by a spent ID", first.ID, s)

	closed, err = r.store.CloseSession(r.ctx, s.Ref, reference.ByAdmin, 3000)
	r.want("CloseSession of a closed session", err, nil)
	if closed {
		r.violated("CloseSession of a closed session reported that it closed it")
	}
	r.stored("after a second CloseSession: the first instant and reason stay", s)
	r.stored("of another session", other)
}

func (r *runner) closeRace() {
	for range rounds {
		s := r.created()
		closed := make([]bool, racers)
		for _, err := range race(racers, func(i int) (err error) {
			closed[i], err = r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, int64(2000+i))
			return err
		}) {
			r.want("CloseSession in a race", err, nil)
		}
		n, at := 0, int64(0)
		for i := range closed {
			if closed[i] {
				n, at = n+1, int64(2000+i)
			}
		}
		if n != 1 {
			r.violated("%d of %d concurrent calls reported that they closed it, want exactly 1", n, racers)
			return
		}
		s.ClosedAt, s.Reason = at, reference.ByLogout
		r.stored("after the race: the instant is the closing call's", s)
	}
}

func (r *runner) openHTTP() {
	s, other := r.created(), r.created()
	shop := r.http("shop")
	got, created, err := r.store.OpenHTTP(r.ctx, s.Ref, shop)
	r.must("OpenHTTP", err)
	if !created {
		r.violated("OpenHTTP where there is none did not report that it created one")
	}
	if d := differenceHTTP(got, shop); d != "" {
		r.violated("OpenHTTP where there is none: %s", d)
	}
	got, created, err = r.store.OpenHTTP(r.ctx, s.Ref, r.http("shop"))
	r.must("OpenHTTP", err)
	if created {
		r.violated("OpenHTTP where there is one reported that it created one")
	}
	if d := differenceHTTP(got, shop); d != "" {
		r.violated("OpenHTTP where there is one: %s", d)
	}
	s.HTTP = append(s.HTTP, shop, r.opened(s.Ref, "mail"))
	other.HTTP = append(other.HTTP, r.opened(other.Ref, "shop"))
	r.stored("with two applications", s)
	r.stored("of another session with the same application", other)

	next := r.token(1500)
	r.must("Replace", r.store.Replace(r.ctx, s.Current, next))
	s.Previous, s.Current = s.Current, next
	r.stored("after Replace: HTTP sessions survive rotation", s)

	_, err = r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, 2000)
	r.must("CloseSession", err)
	_, _, err = r.store.OpenHTTP(r.ctx, s.Ref, r.http("shop"))
	r.want("OpenHTTP under a closed session", err, reference.ErrClosed)
	_, _, err = r.store.OpenHTTP(r.ctx, s.Ref, r.http("news"))
	r.want("OpenHTTP of a new application under a closed session", err, reference.ErrClosed)
	s.HTTP, s.ClosedAt, s.Reason = nil, 2000, reference.ByLogout
	r.stored("after OpenHTTP under a closed session", s)
}

func (r *runner) openHTTPRace() {
	for range rounds {
		s := r.created()
		offered := make([]reference.HTTPSession, racers)
		for i := range offered {
			offered[i] = r.http("shop")
		}
		got := make([]reference.HTTPSession, racers)
		created := make([]bool, racers)
		for _, err := range race(racers, func(i int) (err error) {
			got[i], created[i], err = r.store.OpenHTTP(r.ctx, s.Ref, offered[i])
			return err
		}) {
			r.want("OpenHTTP in a race", err, nil)
		}
		n, winner := 0, 0
		for i := range created {
			if created[i] {
				n, winner = n+1, i
			}
		}
		if n != 1 {
			r.violated("%d of %d concurrent calls reported that they created it, want exactly 1", n, racers)
			return
		}
		for i := range got {
			if got[i].ID != offered[winner].ID {
				r.violated("callers of one application got different HTTP sessions")
				return
			}
		}
		s.HTTP = append(s.HTTP, offered[winner])
		r.stored("after the race", s)
	}
	// Different applications at once: none is lost (AJ-4.4).
	for range rounds {
		s := r.created()
		for i := range racers {
			s.HTTP = append(s.HTTP, r.http(fmt.Sprintf("app-%02d", i)))
		}
		for _, err := range race(racers, func(i int) error {
			_, _, err := r.store.OpenHTTP(r.ctx, s.Ref, s.HTTP[i])
			return err
		}) {
			r.want("OpenHTTP in a race", err, nil)
		}
		r.stored("after many applications opened at once", s)
	}
}

func (r *runner) openHTTPAgainstClose() {
	for range rounds {
		s := r.created()
		errs := race(2, func(i int) (err error) {
			if i == 0 {
				_, _, err = r.store.OpenHTTP(r.ctx, s.Ref, r.http("shop"))
			} else {
				_, err = r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, 2000)
			}
			return err
		})
		if errs[0] != nil {
			r.want("OpenHTTP against CloseSession", errs[0], reference.ErrClosed)
		}
		r.want("CloseSession against OpenHTTP", errs[1], nil)
		s.ClosedAt, s.Reason = 2000, reference.ByLogout
		r.stored("after OpenHTTP against CloseSession: no HTTP session outlives it", s)
	}
}

func (r *runner) saveHTTP() {
	s := r.created()
	h := r.opened(s.Ref, "shop")
	mail := r.opened(s.Ref, "mail")
	stored := func(when string) {
		s.HTTP = []reference.HTTPSession{h, mail}
		r.stored(when, s)
	}
	save := func(version int64, attributes map[string]string, at int64) error {
		return r.store.SaveHTTP(r.ctx, s.Ref, "shop", version, attributes, at)
	}
	r.want("SaveHTTP of the version read", save(h.Version, map[string]string{"cart": "2 pears"}, 2000), nil)
	h.Version, h.LastAccess, h.Attributes = h.Version+1, 2000, map[string]string{"cart": "2 pears"}
	stored("after SaveHTTP: attributes replaced, version one up, access recorded, the other application untouched")

	for _, stale := range []int64{h.Version - 1, h.Version + 1, 0} {
		r.want("SaveHTTP of another version", save(stale, map[string]string{"cart": "lost"}, 2001), reference.ErrConflict)
	}
	got, err := r.store.Load(r.ctx, s.Ref)
	r.must("Load", err)
	for _, g := range got.HTTP {
		if g.Application == "shop" && (g.Version != h.Version || !maps.Equal(g.Attributes, h.Attributes)) {
			r.violated("SaveHTTP with a conflict changed the HTTP session")
		}
	}
	r.want("SaveHTTP without attributes, of a stale version", save(h.Version-1, nil, 2002), nil)
	h.LastAccess = 2002
	stored("after SaveHTTP without attributes: the access and nothing else")

	r.want("SaveHTTP of no attributes left", save(h.Version, map[string]string{}, 2003), nil)
	h.Version, h.LastAccess, h.Attributes = h.Version+1, 2003, nil
	stored("after SaveHTTP of an empty map: the attributes are gone")

	r.want("SaveHTTP of an application without an HTTP session",
		r.store.SaveHTTP(r.ctx, s.Ref, "news", 0, nil, 2004), reference.ErrUnknown)
	_, err = r.store.EndHTTP(r.ctx, s.Ref, "shop", reference.ByApplication, 2005)
	r.must("EndHTTP", err)
	r.want("SaveHTTP of an ended HTTP session", save(h.Version, map[string]string{"cart": "back"}, 2006), reference.ErrUnknown)
	r.want("SaveHTTP without attributes of an ended HTTP session", save(h.Version, nil, 2006), reference.ErrUnknown)
	s.HTTP = []reference.HTTPSession{mail}
	r.stored("after SaveHTTP of an ended HTTP session", s)
}

func (r *runner) saveHTTPRace() {
	s := r.created()
	h := r.opened(s.Ref, "shop")
	for range rounds {
		won, winner := 0, 0
		for i, err := range race(racers, func(i int) error {
			return r.store.SaveHTTP(r.ctx, s.Ref, "shop", h.Version, map[string]string{"by": fmt.Sprint(i)}, 2000)
		}) {
			if err == nil {
				won, winner = won+1, i
			} else {
				r.want("SaveHTTP that came second", err, reference.ErrConflict)
			}
		}
		if won != 1 {
			r.violated("%d of %d concurrent saves of one version succeeded, want exactly 1", won, racers)
			return
		}
		h.Version, h.LastAccess, h.Attributes = h.Version+1, 2000, map[string]string{"by": fmt.Sprint(winner)}
		s.HTTP = []reference.HTTPSession{h}
		r.stored("after the race", s)
	}
}

func (r *runner) saveHTTPAfterClose() {
	for i := range rounds {
		s := r.created()
		h := r.opened(s.Ref, "shop")
		errs := race(2, func(i int) (err error) {
			if i == 0 {
				return r.store.SaveHTTP(r.ctx, s.Ref, "shop", h.Version, map[string]string{"cart": "in flight"}, 2000)
			}
			_, err = r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, 2001)
			return err
		})
		if errs[0] != nil {
			r.want("SaveHTTP against CloseSession", errs[0], reference.ErrClosed)
		}
		r.want("CloseSession against SaveHTTP", errs[1], nil)
		var attributes map[string]string
		if i%2 == 0 {
			attributes = map[string]string{"cart": "late"}
		}
		r.want("SaveHTTP after CloseSession returned", r.store.SaveHTTP(r.ctx, s.Ref, "shop", h.Version, attributes, 2002), reference.ErrClosed)
		s.ClosedAt, s.Reason = 2001, reference.ByLogout
		r.stored("after saves in flight over CloseSession: the session does not rise again", s)
	}
}

func (r *runner) endHTTP() {
	s := r.created()
	end := func(application string) (bool, error) {
		return r.store.EndHTTP(r.ctx, s.Ref, application, reference.ByIdle, 2000)
	}
	_, err := end("shop")
	r.want("EndHTTP where there is none", err, reference.ErrUnknown)
	r.stored("after EndHTTP where there is none: a session without HTTP sessions stays open", s)

	r.opened(s.Ref, "shop")
	mail := r.opened(s.Ref, "mail")
	closed, err := end("shop")
	r.must("EndHTTP", err)
	if closed {
		r.violated("EndHTTP of one of two reported that the security session closed")
	}
	s.HTTP = []reference.HTTPSession{mail}
	r.stored("after EndHTTP of one of two", s)
	_, err = end("shop")
	r.want("EndHTTP of an ended one", err, reference.ErrUnknown)
	r.stored("after EndHTTP of an ended one", s)

	again := r.opened(s.Ref, "shop")
	s.HTTP = []reference.HTTPSession{mail, again}
	r.stored("after the application opened another: nothing of the ended one is left", s)
	if closed, err = end("shop"); closed || err != nil {
		r.violated("EndHTTP of one of two: closed %v, %s", closed, outcome(err))
	}

	closed, err = end("mail")
	r.must("EndHTTP of the last", err)
	if !closed {
		r.violated("EndHTTP of the last one did not report that the security session closed")
	}
	s.HTTP, s.ClosedAt, s.Reason = nil, 2000, reference.ByLastHTTP
	r.stored("after EndHTTP of the last one", s)
	_, err = end("mail")
	r.want("EndHTTP under a closed session", err, reference.ErrUnknown)
	_, _, err = r.store.OpenHTTP(r.ctx, s.Ref, r.http("mail"))
	r.want("OpenHTTP after the last one ended", err, reference.ErrClosed)
}

func (r *runner) endHTTPRace() {
	for range rounds {
		s := r.created()
		for i := range racers / 2 {
			r.opened(s.Ref, fmt.Sprint("app-", i))
		}
		// Each is ended by two callers.
		closed := make([]bool, racers)
		errs := race(racers, func(i int) (err error) {
			closed[i], err = r.store.EndHTTP(r.ctx, s.Ref, fmt.Sprint("app-", i/2), reference.ByApplication, int64(2000+i))
			return err
		})
		n := 0
		for i := 0; i < racers; i += 2 {
			if ended := btoi(errs[i] == nil) + btoi(errs[i+1] == nil); ended != 1 {
				r.violated("%d of 2 concurrent calls ended one HTTP session, want exactly 1", ended)
			}
			for _, err := range errs[i : i+2] {
				if err != nil {
					r.want("EndHTTP that came second", err, reference.ErrUnknown)
				}
			}
		}
		for i := range closed {
			if closed[i] {
				n++
				s.ClosedAt = int64(2000 + i)
			}
		}
		if n != 1 {
			r.violated("%d calls reported that the security session closed, want exactly 1", n)
			return
		}
		s.Reason = reference.ByLastHTTP
		r.stored("after all were ended at once", s)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *runner) endAgainstOpen() {
	for range rounds {
		s := r.created()
		r.opened(s.Ref, "shop")
		mail := r.http("mail")
		var closed, created bool
		errs := race(2, func(i int) (err error) {
			if i == 0 {
				closed, err = r.store.EndHTTP(r.ctx, s.Ref, "shop", reference.ByApplication, 2000)
			} else {
				_, created, err = r.store.OpenHTTP(r.ctx, s.Ref, mail)
			}
			return err
		})
		r.want("EndHTTP against OpenHTTP", errs[0], nil)
		switch {
		case closed && !created:
			r.want("OpenHTTP after the last one ended", errs[1], reference.ErrClosed)
			s.ClosedAt, s.Reason = 2000, reference.ByLastHTTP
		case !closed && created:
			r.want("OpenHTTP before the last one ended", errs[1], nil)
			s.HTTP = []reference.HTTPSession{mail}
		default:
			r.violated("EndHTTP of the last against OpenHTTP of another: closed %v and created %v, want exactly one", closed, created)
			return
		}
		r.stored("after EndHTTP of the last against OpenHTTP of another: no HTTP session without an open security session", s)
	}
}

func (r *runner) values() {
	for _, v := range []struct{ name, text string }{
		{"empty", ""},
		{"not UTF-8", "\xff\xfe\x80"},
		{"NUL", "a\x00b"},
		{"quotes", `' " ; -- \ % _`},
		{"other scripts", "Ἀδα Λ 🌍"},
		{"64 KiB", strings.Repeat("x", 1<<16)},
	} {
		s := r.fresh("ada "+v.text, 1<<53+1)
		r.must("Create for a user name with "+v.name, r.store.Create(r.ctx, s))
		h := r.http("shop " + v.text)
		h.CreatedAt, h.LastAccess, h.Idle, h.Version = 1<<53+1, 1<<53+1, 0, 1<<53+1
		h.Attributes = map[string]string{v.text: v.text, "other": ""}
		_, _, err := r.store.OpenHTTP(r.ctx, s.Ref, h)
		r.must("OpenHTTP with "+v.name, err)
		s.HTTP = []reference.HTTPSession{h}
		r.stored("of values with "+v.name, s)
		list, err := r.store.List(r.ctx, s.User)
		if err != nil || len(list) != 1 {
			r.violated("List of a user name with %s: %d sessions, %s", v.name, len(list), outcome(err))
		}
	}
}

func (r *runner) notShared() {
	s := r.created()
	given := map[string]string{"cart": "2 pears"}
	h := r.http("shop")
	h.Attributes = given
	got, _, err := r.store.OpenHTTP(r.ctx, s.Ref, h)
	r.must("OpenHTTP", err)
	want := s
	h.Attributes = map[string]string{"cart": "2 pears"}
	want.HTTP = []reference.HTTPSession{h}

	given["cart"] = "changed by its giver"
	r.stored("after the map given to OpenHTTP was changed", want)
	if got.Attributes != nil {
		got.Attributes["cart"] = "changed by its receiver"
	}
	r.stored("after the map OpenHTTP returned was changed", want)

	given = map[string]string{"cart": "3 pears"}
	r.must("SaveHTTP", r.store.SaveHTTP(r.ctx, s.Ref, "shop", h.Version, given, 2000))
	want.HTTP[0].Version, want.HTTP[0].LastAccess, want.HTTP[0].Attributes = h.Version+1, 2000, map[string]string{"cart": "3 pears"}
	given["cart"] = "changed by its giver"
	r.stored("after the map given to SaveHTTP was changed", want)

	for name, read := range map[string]func() (reference.SecuritySession, error){
		"Load": func() (reference.SecuritySession, error) { return r.store.Load(r.ctx, s.Ref) },
		"Find": func() (reference.SecuritySession, error) { return r.store.Find(r.ctx, s.Current.ID) },
		"List": func() (reference.SecuritySession, error) {
			list, err := r.store.List(r.ctx, "")
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("%d sessions", len(list))
			}
			if err != nil {
				return reference.SecuritySession{}, err
			}
			return list[0], nil
		},
	} {
		read1, err := read()
		r.must(name, err)
		if len(read1.HTTP) == 1 && read1.HTTP[0].Attributes != nil {
			read1.HTTP[0].Attributes["cart"] = "changed by its reader"
			read1.HTTP[0].Application = "changed by its reader"
		}
		r.stored("after what "+name+" returned was changed", want)
	}

	if len(r.taken()) > 0 {
		return // Go ends a program that writes one map from two goroutines
	}
	// Readers beside a writer: the race detector watches.
	version := h.Version + 1
	for range rounds {
		race(4, func(i int) error {
			if i == 0 {
				err := r.store.SaveHTTP(r.ctx, s.Ref, "shop", version, map[string]string{"cart": "more"}, 2001)
				version++
				return err
			}
			got, err := r.store.Load(r.ctx, s.Ref)
			for _, h := range got.HTTP {
				for k := range h.Attributes {
					h.Attributes[k] = "mine"
				}
			}
			return err
		})
	}
}

func (r *runner) list() {
	list := func(what, user string, want ...reference.SecuritySession) {
		got, err := r.store.List(r.ctx, user)
		r.must("List", err)
		if len(got) != len(want) {
			r.violated("List of %s: %d sessions, want %d", what, len(got), len(want))
			return
		}
		for i := range got {
			if got[i].Ref != want[i].Ref {
				r.violated("List of %s: not ordered by log-in and then reference", what)
				return
			}
			r.same("List of "+what, got[i], want[i])
		}
	}
	list("an empty store", "")
	late, early, same := r.fresh("ada", 3000), r.fresh("ada", 1000), r.fresh("ada", 1000)
	bob := r.fresh("bob", 2000)
	if bytes.Compare(early.Ref[:], same.Ref[:]) > 0 {
		early, same = same, early
	}
	for _, s := range []reference.SecuritySession{late, same, early, bob} {
		r.must("Create", r.store.Create(r.ctx, s))
	}
	early.HTTP = append(early.HTTP, r.opened(early.Ref, "shop"), r.opened(early.Ref, "mail"))
	_, err := r.store.CloseSession(r.ctx, same.Ref, reference.ByIdle, 4000)
	r.must("CloseSession", err)
	same.ClosedAt, same.Reason = 4000, reference.ByIdle
	list("all", "", early, same, bob, late)
	list("one user, a closed session included", "ada", early, same, late)
	list("another user", "bob", bob)
	list("a user without sessions", "eve")
	list("a user whose name begins another's", "ad")
}

// marked compares what Disabled reports.
func (r *runner) marked(when, user string, want bool) {
	got, err := r.store.Disabled(r.ctx, user)
	if err != nil || got != want {
		r.violated("Disabled %s = %v, %v; want %v", when, got, err, want)
	}
}

func (r *runner) disabled() {
	s := r.created()
	r.marked("of a user nobody marked", s.User, false)
	for range 2 {
		r.must("SetDisabled", r.store.SetDisabled(r.ctx, s.User, true))
		r.marked("of a marked user", s.User, true)
	}
	r.marked("of a user whose name begins so", s.User+"line", false)
	r.marked("of another user", "ben", false)
	r.stored("of a session whose user was marked", s)
	_, err := r.store.Prune(r.ctx, 1_000_000)
	r.must("Prune", err)
	r.marked("after Prune", s.User, true)
	for range 2 {
		r.must("SetDisabled", r.store.SetDisabled(r.ctx, s.User, false))
		r.marked("of a user whose mark was taken away", s.User, false)
	}
}

func (r *runner) prune() {
	openOld := r.created() // its current token is older than the instant of pruning
	rotated := r.created()
	tokens := []reference.Token{rotated.Current}
	for _, at := range []int64{1500, 5000, 6000, 7000} {
		next := r.token(at)
		r.must("Replace", r.store.Replace(r.ctx, rotated.Current, next))
		rotated.Previous, rotated.Current = rotated.Current, next
		tokens = append(tokens, next)
	}
	var closed []reference.SecuritySession
	for _, at := range []int64{4999, 5000, 5001} {
		s := r.created()
		_, err := r.store.CloseSession(r.ctx, s.Ref, reference.ByLogout, at)
		r.must("CloseSession", err)
		s.ClosedAt, s.Reason = at, reference.ByLogout
		closed = append(closed, s)
	}
	n, err := r.store.Prune(r.ctx, 5000)
	r.must("Prune", err)
	if n != 1 {
		r.violated("Prune forgot %d sessions, want the 1 that was closed before the instant", n)
	}
	_, err = r.store.Load(r.ctx, closed[0].Ref)
	r.want("Load of a forgotten session", err, reference.ErrUnknown)
	_, err = r.store.Find(r.ctx, closed[0].Current.ID)
	r.want("Find of a forgotten session", err, reference.ErrUnknown)
	r.want("Replace under a forgotten session", r.store.Replace(r.ctx, closed[0].Current, r.token(8000)), reference.ErrUnknown)
	for _, s := range closed[1:] {
		r.stored("of a session closed at or after the instant", s)
		r.want("Replace under a closed session after Prune", r.store.Replace(r.ctx, s.Current, r.token(8000)), reference.ErrClosed)
	}
	r.stored("of an open session, however old", openOld)
	r.found("by a current ID, however old", openOld.Current.ID, openOld)
	r.stored("of an open session whose spent IDs were pruned", rotated)
	for _, t := range tokens {
		_, err := r.store.Find(r.ctx, t.ID)
		switch {
		case t.Timestamp < 5000:
			r.want("Find of a spent ID before the instant", err, reference.ErrUnknown)
		default:
			r.want("Find of an ID at or after the instant", err, nil)
		}
	}
	r.want("Replace of a spent token that is remembered", r.store.Replace(r.ctx, tokens[2], r.token(8000)), reference.ErrSpent)
	r.want("Replace of a current token after Prune", r.store.Replace(r.ctx, openOld.Current, r.token(8000)), nil)
	list, err := r.store.List(r.ctx, "")
	r.must("List", err)
	if len(list) != 4 {
		r.violated("List after Prune: %d sessions, want 4", len(list))
	}
}

func (r *runner) editor() {
	e, is := r.store.(reference.Editor)
	if !is {
		return
	}
	s, other := r.created(), r.created()
	s.HTTP = append(s.HTTP, r.opened(s.Ref, "shop"))
	next := r.token(1500)
	r.must("Replace", r.store.Replace(r.ctx, s.Current, next))
	s.Previous, s.Current = s.Current, next

	for _, t := range []reference.Token{{ID: s.Current.ID, Timestamp: 9999}, r.token(1)} {
		before := s.Current
		r.must("SetCurrent", e.SetCurrent(r.ctx, s.Ref, t))
		s.Current = t
		r.stored("after SetCurrent: the token and nothing else", s)
		r.found("by the ID that SetCurrent wrote", t.ID, s)
		if r.store.Replace(r.ctx, before, r.token(2000)) == nil {
			r.violated("Replace of a token that SetCurrent overwrote succeeded")
		}
	}
	r.want("Replace of the token that SetCurrent wrote", r.store.Replace(r.ctx, s.Current, r.token(2000)), nil)
	r.want("SetCurrent of no session", e.SetCurrent(r.ctx, r.id(), r.token(1)), reference.ErrUnknown)

	r.must("Remove", e.Remove(r.ctx, s.Ref))
	_, err := r.store.Load(r.ctx, s.Ref)
	r.want("Load of a removed session", err, reference.ErrUnknown)
	for _, id := range []reference.ID{s.Current.ID, s.Previous.ID, next.ID} {
		_, err = r.store.Find(r.ctx, id)
		r.want("Find of a removed session", err, reference.ErrUnknown)
	}
	_, _, err = r.store.OpenHTTP(r.ctx, s.Ref, r.http("shop"))
	r.want("OpenHTTP under a removed session", err, reference.ErrUnknown)
	r.want("Remove of a removed session", e.Remove(r.ctx, s.Ref), reference.ErrUnknown)
	list, err := r.store.List(r.ctx, "")
	r.must("List", err)
	if len(list) != 1 {
		r.violated("List after Remove: %d sessions, want 1", len(list))
	}
	anew := reference.SecuritySession{Ref: s.Ref, User: "eve", AuthenticatedAt: 3000, Current: s.Current}
	r.must("Create of what was removed", r.store.Create(r.ctx, anew))
	r.stored("after Create of what was removed: nothing of it is left", anew)
	r.stored("of another session", other)
}

func (r *runner) durable(open func() (reference.Store, error)) {
	reopen := func() {
		closer, is := r.store.(io.Closer)
		if !is {
			r.violated("the store is no io.Closer, so it cannot be opened again")
			panic(errStop)
		}
		r.must("close the store", closer.Close())
		store, err := open()
		r.must("open the store again", err)
		r.store = store
	}
	s, gone := r.created(), r.created()
	first := s.Current
	for i := range int64(2) {
		next := r.token(2000 + i)
		r.must("Replace", r.store.Replace(r.ctx, s.Current, next))
		s.Previous, s.Current = s.Current, next
	}
	h := r.opened(s.Ref, "shop")
	r.must("SaveHTTP", r.store.SaveHTTP(r.ctx, s.Ref, "shop", h.Version, map[string]string{"cart": "2 pears"}, 3000))
	h.Version, h.LastAccess, h.Attributes = h.Version+1, 3000, map[string]string{"cart": "2 pears"}
	s.HTTP = append(s.HTTP, h)
	r.opened(gone.Ref, "shop")
	_, err := r.store.CloseSession(r.ctx, gone.Ref, reference.ByAdmin, 3000)
	r.must("CloseSession", err)
	gone.ClosedAt, gone.Reason = 3000, reference.ByAdmin
	r.must("SetDisabled", r.store.SetDisabled(r.ctx, "mallory", true))

	for range 2 {
		reopen()
		r.marked("after reopening", "mallory", true)
		r.stored("of an open session after reopening", s)
		r.stored("of a closed session after reopening", gone)
		r.want("Replace of the previous token after reopening", r.store.Replace(r.ctx, s.Previous, r.token(4000)), reference.ErrSpent)
		r.want("Replace of an older token after reopening", r.store.Replace(r.ctx, first, r.token(4000)), reference.ErrSpent)
		r.want("Replace under a closed session after reopening", r.store.Replace(r.ctx, gone.Current, r.token(4000)), reference.ErrClosed)
	}
	r.want("Replace of the current token after reopening", r.store.Replace(r.ctx, s.Current, r.token(4000)), nil)
	_, err = r.store.Prune(r.ctx, 3500)
	r.must("Prune", err)
	reopen()
	_, err = r.store.Load(r.ctx, gone.Ref)
	r.want("Load of a forgotten session after reopening", err, reference.ErrUnknown)
}
