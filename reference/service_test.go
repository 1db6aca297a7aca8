package reference_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/model"
	"github.com/farmspec/farmspec/reference/sqlstore"
)

const (
	idle     = 30 * time.Minute
	absolute = 12 * time.Hour
	milli    = time.Millisecond
)

// bench is a service with a clock of its own and users ada and bob.
type bench struct {
	*reference.Service
	t     testing.TB
	store interface {
		reference.Store
		reference.Editor
	}
	clock atomic.Int64 // nanoseconds since 1970
}

func newBench(t testing.TB, o reference.Options) *bench {
	t.Helper()
	b := &bench{t: t, store: memstore.Open()}
	b.clock.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	users := &reference.Users{Iterations: 1}
	for _, name := range []string{"ada", "bob"} {
		if err := users.Add(name, "secret of "+name); err != nil {
			t.Fatal(err)
		}
	}
	if o.Store == nil {
		o.Store = b.store
	}
	o.Users = users
	o.Now = func() time.Time { return time.Unix(0, b.clock.Load()) }
	svc, err := reference.NewService(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Service = svc
	return b
}

func (b *bench) pass(d time.Duration) { b.clock.Add(int64(d)) }

func (b *bench) login(user string) reference.Grant {
	b.t.Helper()
	g, err := b.Login(b.t.Context(), reference.LoginRequest{User: user, Password: "secret of " + user})
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

func (b *bench) renew(tok reference.Token) (reference.Grant, error) {
	return b.Renew(b.t.Context(), reference.Presented{Token: tok})
}

// good renews a token that has to be good.
func (b *bench) good(tok reference.Token, why string) reference.Token {
	b.t.Helper()
	g, err := b.renew(tok)
	if err != nil {
		b.t.Fatalf("Renew = %v, want success (%s)", err, why)
	}
	return g.Token
}

// refused renews a token that has to be refused.
func (b *bench) refused(tok reference.Token, want error, why string) {
	b.t.Helper()
	if g, err := b.renew(tok); !errors.Is(err, want) || g != (reference.Grant{}) {
		b.t.Errorf("Renew = %v, %v, want nothing and %v (%s)", g, err, want, why)
	}
}

// closedBy checks the tombstone.
func (b *bench) closedBy(ref reference.ID, want reference.Reason, why string) {
	b.t.Helper()
	s, err := b.store.Load(b.t.Context(), ref)
	if err != nil || s.Reason != want || s.Open() == (want != "") || want != "" && len(s.HTTP) > 0 {
		b.t.Errorf("session is closed by %q with %d HTTP sessions, %v, want %q (%s)", s.Reason, len(s.HTTP), err, want, why)
	}
}

func (b *bench) open(ref reference.ID, app string) reference.HTTPSession {
	b.t.Helper()
	h, err := b.OpenHTTP(b.t.Context(), ref, app)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func TestLogin(t *testing.T) {
	for _, tc := range []struct {
		name, user, password string
		want                 error
		why                  string
	}{
		{"right", "ada", "secret of ada", nil, "AJ-3.2: a successful log-in"},
		{"wrong password", "ada", "secret of bob", reference.ErrCredentials, "AJ-3.2: a failed one creates none"},
		{"no password", "ada", "", reference.ErrCredentials, "AJ-3.2"},
		{"unknown user", "eve", "secret of eve", reference.ErrCredentials, "as uniform as a wrong password"},
		{"unknown user, empty password", "eve", "", reference.ErrCredentials, "no user is the zero user"},
		{"no user", "", "", reference.ErrCredentials, "no user is the zero user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, reference.Options{})
			g, err := b.Login(t.Context(), reference.LoginRequest{User: tc.user, Password: tc.password})
			if !errors.Is(err, tc.want) {
				t.Errorf("Login = %v, want %v (%s)", err, tc.want, tc.why)
			}
			list, _ := b.List(t.Context(), "")
			if want := btoi(tc.want == nil); len(list) != want {
				t.Errorf("%d sessions after the log-in, want %d (%s)", len(list), want, tc.why)
			}
			if tc.want == nil && (g.User != tc.user || g.Token.Timestamp != b.clock.Load()/1e6 || g.Session.IsZero() || g.Session == g.Token.ID) {
				t.Errorf("Login = %+v: not the user's, not now, or the reference is the session ID", g)
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestUsersPasswordChanges(t *testing.T) {
	u := &reference.Users{Iterations: 1}
	for _, password := range []string{"old", "new"} {
		if err := u.Add("ada", password); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Authenticate(t.Context(), "ada", "old"); err != reference.ErrCredentials {
		t.Errorf("Authenticate with the old password = %v, want exactly ErrCredentials", err)
	}
	if err := u.Authenticate(t.Context(), "ada", "new"); err != nil {
		t.Errorf("Authenticate with the new password = %v", err)
	}
	if err := u.Add("", "x"); err == nil {
		t.Error("a user without a name was added")
	}
}

func TestLoginDiscardsThePresentedSession(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options reference.Options
		present func(b *bench, g reference.Grant) reference.Token
		want    reference.Reason
		why     string
	}{
		{"current token", reference.Options{}, func(_ *bench, g reference.Grant) reference.Token { return g.Token }, reference.ByLogin,
			"ASVS 7.2.4: the current one is terminated"},
		{"none", reference.Options{}, func(*bench, reference.Grant) reference.Token { return reference.Token{} }, "", "nothing was presented"},
		{"forged timestamp", reference.Options{}, func(_ *bench, g reference.Grant) reference.Token {
			g.Token.Timestamp++
			return g.Token
		}, "", "what Renew refuses ends nobody's session"},
		{"spent token", reference.Options{}, func(b *bench, g reference.Grant) reference.Token {
			b.good(g.Token, "fresh")
			return g.Token
		}, "", "what Renew refuses ends nobody's session"},
		{"spent token, revoke-family", reference.Options{Replay: reference.RevokeFamily}, func(b *bench, g reference.Grant) reference.Token {
			b.good(g.Token, "fresh")
			return g.Token
		}, reference.ByReplay, "D5: it is a replay"},
		{"predecessor, coalesce", reference.Options{Rotation: reference.Coalesce}, func(b *bench, g reference.Grant) reference.Token {
			b.good(g.Token, "fresh")
			return g.Token
		}, reference.ByLogin, "within the grace period it is good"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.options)
			old := b.login("ada")
			g, err := b.Login(t.Context(), reference.LoginRequest{User: "bob", Password: "secret of bob", Discard: tc.present(b, old)})
			if err != nil {
				t.Fatal(err)
			}
			b.closedBy(old.Session, tc.want, tc.why)
			if g.Session == old.Session || g.Token.ID == old.Token.ID {
				t.Error("the log-in reused an identifier (F48)")
			}
			b.good(g.Token, "the new session")
		})
	}
	t.Run("failed log-in", func(t *testing.T) {
		b := newBench(t, reference.Options{})
		old := b.login("ada")
		_, err := b.Login(t.Context(), reference.LoginRequest{User: "bob", Password: "wrong", Discard: old.Token})
		if !errors.Is(err, reference.ErrCredentials) {
			t.Errorf("Login = %v, want ErrCredentials", err)
		}
		b.good(old.Token, "a failed log-in changes nothing")
	})
}

func TestRenewReplaces(t *testing.T) {
	b := newBench(t, reference.Options{})
	bystander := b.login("bob")
	g := b.login("ada")
	seen := map[reference.ID]bool{g.Token.ID: true}
	tok := g.Token
	for i := range 50 {
		b.pass(time.Duration(i%3) * time.Second)
		next, err := b.renew(tok)
		if err != nil {
			t.Fatal(err)
		}
		if next.Session != g.Session || next.User != "ada" {
			t.Fatalf("Renew answers for %s of %q, want the session that was presented", next.Session, next.User)
		}
		if seen[next.Token.ID] {
			t.Fatal("a session ID came twice (claim 3)")
		}
		seen[next.Token.ID] = true
		if next.Token.Timestamp != b.clock.Load()/1e6 {
			t.Fatalf("timestamp is %d, want the service's time (claim 3)", next.Token.Timestamp)
		}
		b.refused(tok, reference.ErrSpent, "claim 4: replaced, not added")
		tok = next.Token
	}
	s, err := b.store.Load(t.Context(), g.Session)
	if err != nil || s.Current != tok || s.AuthenticatedAt != g.Token.Timestamp {
		t.Errorf("stored: %v, log-in moved %v, %v; want the last token and the log-in where it was (D6)", s.Current, s.AuthenticatedAt != g.Token.Timestamp, err)
	}
	b.good(bystander.Token, "another session's token")
}

func TestCompare(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(tok reference.Token) reference.Token
		want error
		why  string
	}{
		{"as issued", func(tok reference.Token) reference.Token { return tok }, nil, "claim 6: both are as stored"},
		{"timestamp one more", func(tok reference.Token) reference.Token { tok.Timestamp++; return tok }, reference.ErrMismatch, "claim 6: the timestamp counts (F01)"},
		{"timestamp one less", func(tok reference.Token) reference.Token { tok.Timestamp--; return tok }, reference.ErrMismatch, "claim 6: the timestamp counts (F37)"},
		{"timestamp zero", func(tok reference.Token) reference.Token { tok.Timestamp = 0; return tok }, reference.ErrMismatch, "claim 6"},
		{"first byte of the ID", func(tok reference.Token) reference.Token { tok.ID[0] ^= 1; return tok }, reference.ErrUnknown, "claim 6: the ID counts (F02)"},
		{"last byte of the ID", func(tok reference.Token) reference.Token { tok.ID[15] ^= 1; return tok }, reference.ErrUnknown, "claim 6: all of it (F07)"},
		{"zero", func(reference.Token) reference.Token { return reference.Token{} }, reference.ErrUnknown, "the zero token was never issued"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, rotation := range []reference.Rotation{reference.Strict, reference.Coalesce, reference.ReadVerify} {
				b := newBench(t, reference.Options{Rotation: rotation})
				g := b.login("ada")
				tok := tc.edit(g.Token)
				if _, err := b.Verify(t.Context(), reference.Presented{Token: tok}); !errors.Is(err, tc.want) {
					t.Errorf("%s: Verify = %v, want %v (%s)", rotation, err, tc.want, tc.why)
				}
				if _, err := b.renew(tok); !errors.Is(err, tc.want) {
					t.Errorf("%s: Renew = %v, want %v (%s)", rotation, err, tc.want, tc.why)
				}
				if tc.want != nil {
					b.good(g.Token, "a refused token changes nothing")
				}
			}
		})
	}
}

func TestStoredDataIsTheAuthority(t *testing.T) {
	b := newBench(t, reference.Options{})
	g := b.login("ada")
	if err := b.store.SetCurrent(t.Context(), g.Session, reference.Token{ID: g.Token.ID, Timestamp: g.Token.Timestamp - 1}); err != nil {
		t.Fatal(err)
	}
	b.refused(g.Token, reference.ErrMismatch, "WF-6.3: the row was altered")
	b.good(reference.Token{ID: g.Token.ID, Timestamp: g.Token.Timestamp - 1}, "WF-6.3: what is stored is good")
	g = b.login("ada")
	if err := b.store.Remove(t.Context(), g.Session); err != nil {
		t.Fatal(err)
	}
	b.refused(g.Token, reference.ErrUnknown, "WF-6.3: the row is gone, and nothing is remembered beside it")
}

func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pauses []time.Duration // before each use of the token
		want   error           // of the last use
		reason reference.Reason
		why    string
	}{
		{"just inside", []time.Duration{idle}, nil, "", "claim 7 compares against a maximum; equal is not over (D7)"},
		{"just outside", []time.Duration{idle + milli}, reference.ErrExpired, reference.ByIdle, "one millisecond over is over"},
		{"long gone", []time.Duration{1000 * time.Hour}, reference.ErrExpired, reference.ByIdle, "claim 7"},
		{"activity extends", []time.Duration{idle * 3 / 4, idle * 3 / 4, idle * 3 / 4}, nil, "", "idle is measured from the last timestamp (F16, F28)"},
		{"activity, then too long", []time.Duration{idle * 3 / 4, idle + milli}, reference.ErrExpired, reference.ByIdle, "claim 7"},
		{"absolute reached", slices.Repeat([]time.Duration{idle}, 24), nil, "", "equal is not over"},
		{"absolute passed", append(slices.Repeat([]time.Duration{idle}, 24), milli), reference.ErrExpired, reference.ByAbsolute,
			"ASVS 7.3.2: rotation does not move the log-in (F34)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, reference.Options{Limits: reference.Limits{
				Idle: idle, Absolute: absolute, AppIdle: map[string]time.Duration{"shop": 0}, // not what ends it here
			}})
			sibling := b.login("ada")
			g := b.login("ada")
			app := b.open(g.Session, "shop")
			tok := g.Token
			for i, pause := range tc.pauses {
				b.pass(pause)
				if i < len(tc.pauses)-1 {
					sibling.Token = b.good(sibling.Token, "in time")
					tok = b.good(tok, "in time")
				}
			}
			got, err := b.renew(tok)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Renew = %v, want %v (%s)", err, tc.want, tc.why)
			}
			if tc.want == nil {
				b.good(got.Token, tc.why)
				return
			}
			b.closedBy(g.Session, tc.reason, "claim 8: closed, and every HTTP session with it")
			b.refused(tok, reference.ErrClosed, "claim 8: closed for good")
			if err := b.SaveHTTP(t.Context(), g.Session, app); !errors.Is(err, reference.ErrClosed) {
				t.Errorf("SaveHTTP in a timed-out session = %v, want ErrClosed (AJ-3.4)", err)
			}
			b.closedBy(sibling.Session, "", "WF-8.3: only what timed out closes, and only when asked for")
		})
	}
}

// A stored timestamp can be ahead of the clock after a restart on another
// machine.
func TestTimestampFromTheFuture(t *testing.T) {
	for _, tc := range []struct {
		name             string
		tolerance, ahead time.Duration
		want             error
		why              string
	}{
		{"none allowed", 0, milli, reference.ErrMismatch, "D8: beyond the tolerance is refused"},
		{"within the tolerance", 2 * time.Second, 2 * time.Second, nil, "D8: replicas may differ by that much"},
		{"over the tolerance", 2 * time.Second, 2*time.Second + milli, reference.ErrMismatch, "D8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := newBench(t, reference.Options{})
			first.pass(tc.ahead)
			g := first.login("ada")
			second := newBench(t, reference.Options{Store: first.store, Limits: reference.Limits{Tolerance: tc.tolerance}})
			next, err := second.renew(g.Token)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Renew = %v, want %v (%s)", err, tc.want, tc.why)
			}
			if tc.want == nil && next.Token.Timestamp != g.Token.Timestamp {
				t.Errorf("timestamp went from %d to %d: it never falls behind the replaced one", g.Token.Timestamp, next.Token.Timestamp)
			}
			if tc.want != nil {
				first.good(g.Token, "refused, not closed: the session lives on where the clock is right")
			}
		})
	}
}

func TestClockSteppedBackResurrectsNothing(t *testing.T) {
	b := newBench(t, reference.Options{Limits: reference.Limits{Idle: idle}})
	g, other := b.login("ada"), b.login("ada")
	b.pass(idle + milli)
	b.refused(g.Token, reference.ErrExpired, "claim 7")
	b.pass(-2 * idle)
	b.refused(g.Token, reference.ErrClosed, "F30: closed for good")
	b.refused(other.Token, reference.ErrExpired, "F30: the service has seen that the time was over")
	if now, err := b.Time(t.Context()); err != nil || now.UnixNano() != b.clock.Load()+int64(2*idle) {
		t.Errorf("Time = %v, %v, want the latest instant seen", now, err)
	}
	b.good(b.login("bob").Token, "new sessions go on while the clock stands still")
}

func TestVerifyRenewsNothing(t *testing.T) {
	b := newBench(t, reference.Options{Limits: reference.Limits{Idle: idle}})
	g := b.login("ada")
	b.pass(idle * 3 / 4)
	for range 3 {
		got, err := b.Verify(t.Context(), reference.Presented{Token: g.Token})
		if err != nil || got != g {
			t.Fatalf("Verify = %v, %v, want the presented token back", got, err)
		}
	}
	b.pass(idle*1/4 + milli)
	if _, err := b.Verify(t.Context(), reference.Presented{Token: g.Token}); !errors.Is(err, reference.ErrExpired) {
		t.Errorf("Verify after the limit = %v, want ErrExpired (D21: it renewed nothing)", err)
	}
	b.closedBy(g.Session, reference.ByIdle, "claim 8, whoever notices")
}

func TestCoalesce(t *testing.T) {
	const grace = 5 * time.Second
	for _, tc := range []struct {
		name   string
		passes time.Duration
		again  int // further replacements before the old token returns
		want   error
		why    string
	}{
		{"at once", 0, 0, nil, "D3: the same successor"},
		{"at the end of the grace period", grace, 0, nil, "equal is not over"},
		{"after it", grace + milli, 0, reference.ErrSpent, "I1': only within the grace period"},
		{"two generations later", 0, 1, reference.ErrSpent, "I1': only the immediate predecessor"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, reference.Options{Rotation: reference.Coalesce, Grace: grace})
			g := b.login("ada")
			next := b.good(g.Token, "fresh")
			for range tc.again {
				next = b.good(next, "current")
			}
			b.pass(tc.passes)
			got, err := b.renew(g.Token)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Renew of the predecessor = %v, want %v (%s)", err, tc.want, tc.why)
			}
			if tc.want == nil && got.Token != next {
				t.Errorf("the predecessor got another successor (F18)")
			}
			b.good(next, "the current token stays good")
		})
	}
	t.Run("forged timestamp on the predecessor", func(t *testing.T) {
		b := newBench(t, reference.Options{Rotation: reference.Coalesce})
		g := b.login("ada")
		b.good(g.Token, "fresh")
		g.Token.Timestamp++
		b.refused(g.Token, reference.ErrSpent, "claim 6 holds for the predecessor too")
	})
	t.Run("the predecessor renews nothing", func(t *testing.T) {
		b := newBench(t, reference.Options{Rotation: reference.Coalesce, Grace: idle * 2, Limits: reference.Limits{Idle: idle}})
		g := b.login("ada")
		b.good(g.Token, "fresh")
		b.pass(idle)
		b.good(g.Token, "within both limits")
		b.pass(milli)
		b.refused(g.Token, reference.ErrExpired, "claim 7 counts from the stored timestamp")
	})
}

func TestReplayPolicy(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options reference.Options
		present func(b *bench, spent reference.Token)
		want    reference.Reason
		why     string
	}{
		{"reject", reference.Options{}, func(b *bench, spent reference.Token) { b.refused(spent, reference.ErrSpent, "claim 4") }, "",
			"D5: refused, and the session lives on"},
		{"revoke", reference.Options{Replay: reference.RevokeFamily}, func(b *bench, spent reference.Token) { b.refused(spent, reference.ErrSpent, "claim 4") }, reference.ByReplay,
			"D5: the only signal of a theft (F23)"},
		{"revoke, coalesced", reference.Options{Replay: reference.RevokeFamily, Rotation: reference.Coalesce}, func(b *bench, spent reference.Token) { b.good(spent, "grace") }, "",
			"within the grace period it is no replay"},
		{"revoke, after the grace", reference.Options{Replay: reference.RevokeFamily, Rotation: reference.Coalesce}, func(b *bench, spent reference.Token) {
			b.pass(5*time.Second + milli)
			b.refused(spent, reference.ErrSpent, "over")
		}, reference.ByReplay, "outside the grace period it is one"},
		{"revoke, verified only", reference.Options{Replay: reference.RevokeFamily}, func(b *bench, spent reference.Token) {
			if _, err := b.Verify(b.t.Context(), reference.Presented{Token: spent}); !errors.Is(err, reference.ErrSpent) {
				b.t.Errorf("Verify of a spent token = %v, want ErrSpent", err)
			}
		}, "", "a look raises no alarm (D13)"},
		{"revoke, wrong timestamp", reference.Options{Replay: reference.RevokeFamily}, func(b *bench, spent reference.Token) {
			b.refused(reference.Token{ID: spent.ID, Timestamp: spent.Timestamp - 1}, reference.ErrSpent, "the ID is spent")
		}, reference.ByReplay, "whoever knows a spent ID has seen the token"},
		{"revoke, unknown", reference.Options{Replay: reference.RevokeFamily}, func(b *bench, spent reference.Token) {
			spent.ID[0] ^= 1
			b.refused(spent, reference.ErrUnknown, "never issued")
		}, "", "a guess names no session"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.options)
			g, other := b.login("ada"), b.login("ada")
			next := b.good(g.Token, "fresh")
			tc.present(b, g.Token)
			b.closedBy(g.Session, tc.want, tc.why)
			if tc.want != "" {
				b.refused(next, reference.ErrClosed, "the thief's successor dies too")
			} else {
				b.good(next, tc.why)
			}
			b.good(other.Token, "no other session is touched")
		})
	}
}

func TestHandoffAge(t *testing.T) {
	for _, tc := range []struct {
		name string
		age  time.Duration
		want error
		why  string
	}{
		{"fresh", 0, nil, "sealed this millisecond"},
		{"at the limit", 30 * time.Second, nil, "equal is not over"},
		{"over the limit", 30*time.Second + milli, reference.ErrHandoff, "ASVS 9.2.1: a hand-off is short-lived"},
		{"from the future", -milli, reference.ErrHandoff, "no tolerance was declared"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, reference.Options{})
			b.pass(time.Hour)
			g := b.login("ada")
			r := reference.Presented{Token: g.Token, HandedOffAt: b.clock.Load()/1e6 - tc.age.Milliseconds()}
			_, err := b.Renew(t.Context(), r)
			if !errors.Is(err, tc.want) {
				t.Errorf("Renew = %v, want %v (%s)", err, tc.want, tc.why)
			}
			if tc.want != nil {
				b.good(g.Token, "refused before anything was consumed")
			}
		})
	}
	b := newBench(t, reference.Options{})
	g := b.login("ada")
	for _, at := range []int64{-1, -1 << 63, 1<<63 - 1} {
		if _, err := b.Renew(t.Context(), reference.Presented{Token: g.Token, HandedOffAt: at}); !errors.Is(err, reference.ErrHandoff) {
			t.Errorf("Renew of a hand-off at %d = %v, want ErrHandoff", at, err)
		}
	}
}

func TestLogout(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options reference.Options
		prepare func(b *bench, g reference.Grant) reference.Token
		want    error
		reason  reference.Reason
		why     string
	}{
		{"current token", reference.Options{}, func(_ *bench, g reference.Grant) reference.Token { return g.Token }, nil, reference.ByLogout, "AJ-6.1"},
		{"twice", reference.Options{}, func(b *bench, g reference.Grant) reference.Token {
			if err := b.Logout(b.t.Context(), reference.Presented{Token: g.Token}); err != nil {
				b.t.Error(err)
			}
			return g.Token
		}, reference.ErrClosed, reference.ByLogout, "nothing was left to close"},
		{"spent, strict", reference.Options{}, func(b *bench, g reference.Grant) reference.Token {
			b.good(g.Token, "fresh")
			return g.Token
		}, reference.ErrSpent, "", "D12: strict wants the current token"},
		{"predecessor, coalesce", reference.Options{Rotation: reference.Coalesce}, func(b *bench, g reference.Grant) reference.Token {
			b.good(g.Token, "fresh")
			return g.Token
		}, nil, reference.ByLogout, "D12: answered although spent"},
		{"predecessor after the grace", reference.Options{Rotation: reference.Coalesce}, func(b *bench, g reference.Grant) reference.Token {
			b.good(g.Token, "fresh")
			b.pass(5*time.Second + milli)
			return g.Token
		}, reference.ErrSpent, "", "over is over"},
		{"timed out", reference.Options{}, func(b *bench, g reference.Grant) reference.Token {
			b.pass(idle + milli)
			return g.Token
		}, reference.ErrExpired, reference.ByIdle, "claim 8 first"},
		{"unknown", reference.Options{}, func(*bench, reference.Grant) reference.Token { return someToken }, reference.ErrUnknown, "", "no session of that name"},
		{"forged timestamp", reference.Options{}, func(_ *bench, g reference.Grant) reference.Token {
			g.Token.Timestamp--
			return g.Token
		}, reference.ErrMismatch, "", "claim 6 holds for the log-out too"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.options)
			bystander, g := b.login("ada"), b.login("ada")
			b.open(g.Session, "shop")
			b.open(g.Session, "mail")
			tok := tc.prepare(b, g)
			if err := b.Logout(t.Context(), reference.Presented{Token: tok}); !errors.Is(err, tc.want) {
				t.Errorf("Logout = %v, want %v (%s)", err, tc.want, tc.why)
			}
			b.closedBy(g.Session, tc.reason, tc.why)
			b.closedBy(bystander.Session, "", "one browser's log-out is not another's")
		})
	}
}

func TestSessionLimit(t *testing.T) {
	b := newBench(t, reference.Options{MaxSessions: 2})
	other := b.login("bob")
	var ada []reference.Grant
	for range 4 { // all in one millisecond: their order is that of the log-ins
		ada = append(ada, b.login("ada"))
	}
	for i, want := range []reference.Reason{reference.ByLimit, reference.ByLimit, "", ""} {
		b.closedBy(ada[i].Session, want, "AJ-6.5: the oldest go")
	}
	b.good(ada[3].Token, "the newest stays")
	b.good(ada[2].Token, "within the limit")
	b.good(other.Token, "the limit is for each user")
}

func TestSessionLimitHoldsForConcurrentLogins(t *testing.T) {
	b := newBench(t, reference.Options{MaxSessions: 3})
	var done sync.WaitGroup
	for range 16 {
		done.Go(func() { b.login("ada") })
	}
	done.Wait()
	list, err := b.List(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(open(list)); n != 3 {
		t.Errorf("%d sessions are open after 16 concurrent log-ins, want 3 (AJ-6.5)", n)
	}
}

func open(list []reference.SecuritySession) []reference.SecuritySession {
	return slices.DeleteFunc(slices.Clone(list), func(s reference.SecuritySession) bool { return !s.Open() })
}

func TestHTTPSessions(t *testing.T) {
	b := newBench(t, reference.Options{})
	g := b.login("ada")
	shop := b.open(g.Session, "shop")
	if shop.Application != "shop" || shop.ID.IsZero() || shop.CreatedAt != b.clock.Load()/1e6 || shop.Idle != (20*time.Minute).Milliseconds() {
		t.Errorf("OpenHTTP = %+v", shop)
	}
	shop.Attributes = map[string]string{"cart": "2 pears"}
	if err := b.SaveHTTP(t.Context(), g.Session, shop); err != nil {
		t.Fatal(err)
	}
	if err := b.SaveHTTP(t.Context(), g.Session, shop); !errors.Is(err, reference.ErrConflict) {
		t.Errorf("a second save of one version = %v, want ErrConflict", err)
	}
	tok := b.good(g.Token, "fresh")
	b.pass(time.Minute)
	again := b.open(g.Session, "shop")
	if again.ID != shop.ID || again.Attributes["cart"] != "2 pears" || again.LastAccess != b.clock.Load()/1e6 {
		t.Errorf("OpenHTTP after a rotation = %+v, want the same HTTP session, its access recorded (D16)", again)
	}
	b.open(g.Session, "mail")
	if err := b.EndHTTP(t.Context(), g.Session, "shop"); err != nil {
		t.Errorf("EndHTTP = %v (AJ-2.7)", err)
	}
	if err := b.EndHTTP(t.Context(), g.Session, "shop"); !errors.Is(err, reference.ErrUnknown) {
		t.Errorf("EndHTTP again = %v, want ErrUnknown", err)
	}
	fresh := b.open(g.Session, "shop")
	if fresh.ID == shop.ID || fresh.Attributes["cart"] != "" {
		t.Error("an ended HTTP session came back")
	}
	for _, version := range []int64{shop.Version, again.Version} {
		again.Version = version
		if err := b.SaveHTTP(t.Context(), g.Session, again); !errors.Is(err, reference.ErrConflict) {
			t.Errorf("a save in flight over the end of its HTTP session = %v, want ErrConflict", err)
		}
	}
	tok = b.good(tok, "siblings and the security session live")
	for _, app := range []string{"mail", "shop"} {
		b.closedBy(g.Session, "", "AJ-3.3: until all have ended")
		if err := b.EndHTTP(t.Context(), g.Session, app); err != nil {
			t.Error(err)
		}
	}
	b.closedBy(g.Session, reference.ByLastHTTP, "AJ-3.3: the last one ended")
	b.refused(tok, reference.ErrClosed, "AJ-3.3")
	if _, err := b.OpenHTTP(t.Context(), g.Session, "shop"); !errors.Is(err, reference.ErrClosed) {
		t.Errorf("OpenHTTP in a closed session = %v, want ErrClosed (AJ-5.3)", err)
	}
	if _, err := b.OpenHTTP(t.Context(), b.login("ada").Session, ""); err == nil {
		t.Error("an application without a name got an HTTP session")
	}
}

func TestHTTPSessionTimeouts(t *testing.T) {
	limits := reference.Limits{Idle: time.Hour, HTTPIdle: 10 * time.Minute, AppIdle: map[string]time.Duration{"mail": 30 * time.Minute, "eternal": 0}}
	for _, tc := range []struct {
		name string
		run  func(b *bench, g reference.Grant) (tok reference.Token, apps []string)
		want reference.Reason
		why  string
	}{
		{"at the limit", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.open(g.Session, "shop")
			b.pass(10 * time.Minute)
			return g.Token, []string{"shop"}
		}, "", "equal is not over"},
		{"the only one over it", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.open(g.Session, "shop")
			b.pass(10*time.Minute + milli)
			return g.Token, nil
		}, reference.ByLastHTTP, "AJ-3.3: expiry ends it as invalidation does"},
		{"one of two", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.open(g.Session, "shop")
			b.open(g.Session, "mail")
			b.pass(10*time.Minute + milli)
			return g.Token, []string{"mail"}
		}, "", "AJ-0.3: each application has its own limit"},
		{"activity in another", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.open(g.Session, "shop")
			b.open(g.Session, "news")
			tok := g.Token
			for range 3 {
				b.pass(4 * time.Minute)
				tok = b.good(tok, "in time")
				b.open(g.Session, "news")
			}
			return tok, []string{"news"}
		}, "", "AJ-2.8: activity in one extends no other (D21)"},
		{"activity in itself", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.open(g.Session, "shop")
			tok := g.Token
			for range 3 {
				b.pass(9 * time.Minute)
				tok = b.good(tok, "in time")
				b.open(g.Session, "shop")
			}
			return tok, []string{"shop"}
		}, "", "AJ-2.8"},
		{"without a limit", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.open(g.Session, "eternal")
			b.pass(59 * time.Minute)
			return g.Token, []string{"eternal"}
		}, "", "Servlet 6: no time-out"},
		{"none at all", func(b *bench, g reference.Grant) (reference.Token, []string) {
			b.pass(59 * time.Minute)
			return g.Token, nil
		}, "", "D15: childless, it falls to its own limits"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, reference.Options{Limits: limits})
			g := b.login("ada")
			tok, want := tc.run(b, g)
			_, err := b.renew(tok)
			if expired := errors.Is(err, reference.ErrExpired); expired != (tc.want != "") || err != nil && !expired {
				t.Errorf("Renew = %v (%s)", err, tc.why)
			}
			b.closedBy(g.Session, tc.want, tc.why)
			s, _ := b.store.Load(t.Context(), g.Session)
			var apps []string
			for _, h := range s.HTTP {
				apps = append(apps, h.Application)
			}
			if d := cmp.Diff(want, apps); d != "" {
				t.Errorf("live HTTP sessions (-want +got), %s:\n%s", tc.why, d)
			}
		})
	}
	t.Run("opened after its limit", func(t *testing.T) {
		b := newBench(t, reference.Options{Limits: limits})
		g := b.login("ada")
		shop := b.open(g.Session, "shop")
		b.open(g.Session, "mail")
		b.pass(10*time.Minute + milli)
		if fresh := b.open(g.Session, "shop"); fresh.ID == shop.ID {
			t.Error("an HTTP session over its limit was handed out again")
		}
	})
}

func TestCreateHTTPWithoutAPage(t *testing.T) {
	b := newBench(t, reference.Options{})
	g := b.login("ada")
	h, err := b.CreateHTTP(t.Context(), reference.Presented{Token: g.Token}, "batch")
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.CreateHTTP(t.Context(), reference.Presented{Token: g.Token}, "batch")
	if err != nil || again.ID != h.ID {
		t.Errorf("CreateHTTP again = %v, %v, want the same HTTP session", again.ID, err)
	}
	b.good(g.Token, "AJ-2.5: it did not consume the token")
	if _, err := b.CreateHTTP(t.Context(), reference.Presented{Token: g.Token}, "batch"); !errors.Is(err, reference.ErrSpent) {
		t.Errorf("CreateHTTP with a spent token = %v, want ErrSpent", err)
	}
}

func TestTerminate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		choose func(a1, a2, bob reference.Grant, shop reference.HTTPSession) reference.Selection
		n      int
		want   error
		alive  [3]bool // ada's first, ada's second, bob's
		shop   bool
		why    string
	}{
		{"one HTTP session", func(_, _, _ reference.Grant, shop reference.HTTPSession) reference.Selection {
			return reference.Selection{HTTPSession: shop.ID}
		}, 1, nil, [3]bool{true, true, true}, false, "AJ-6.6: and nothing else"},
		{"one session", func(a1, _, _ reference.Grant, _ reference.HTTPSession) reference.Selection {
			return reference.Selection{Session: a1.Session}
		}, 1, nil, [3]bool{false, true, true}, false, "AJ-6.6: not the user's other"},
		{"one user", func(reference.Grant, reference.Grant, reference.Grant, reference.HTTPSession) reference.Selection {
			return reference.Selection{User: "ada"}
		}, 2, nil, [3]bool{false, false, true}, false, "AJ-6.6: all of his, nobody else's"},
		{"all", func(reference.Grant, reference.Grant, reference.Grant, reference.HTTPSession) reference.Selection {
			return reference.Selection{All: true}
		}, 3, nil, [3]bool{}, false, "ASVS 7.4.5"},
		{"a user without sessions", func(reference.Grant, reference.Grant, reference.Grant, reference.HTTPSession) reference.Selection {
			return reference.Selection{User: "eve"}
		}, 0, nil, [3]bool{true, true, true}, true, "nothing to do is no error"},
		{"no such session", func(reference.Grant, reference.Grant, reference.Grant, reference.HTTPSession) reference.Selection {
			return reference.Selection{Session: someToken.ID}
		}, 0, reference.ErrUnknown, [3]bool{true, true, true}, true, "a named thing has to be there"},
		{"no such HTTP session", func(reference.Grant, reference.Grant, reference.Grant, reference.HTTPSession) reference.Selection {
			return reference.Selection{HTTPSession: someToken.ID}
		}, 0, reference.ErrUnknown, [3]bool{true, true, true}, true, "a named thing has to be there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, reference.Options{})
			a1, a2, bob := b.login("ada"), b.login("ada"), b.login("bob")
			shop := b.open(a1.Session, "shop")
			b.open(a1.Session, "mail")
			n, err := b.Terminate(t.Context(), tc.choose(a1, a2, bob, shop))
			if n != tc.n || !errors.Is(err, tc.want) {
				t.Errorf("Terminate = %d, %v, want %d, %v (%s)", n, err, tc.n, tc.want, tc.why)
			}
			for i, g := range []reference.Grant{a1, a2, bob} {
				want := reference.ByAdmin
				if tc.alive[i] {
					want = ""
				}
				b.closedBy(g.Session, want, tc.why)
			}
			s, _ := b.store.Load(t.Context(), a1.Session)
			if live := slices.ContainsFunc(s.HTTP, func(h reference.HTTPSession) bool { return h.ID == shop.ID }); live != tc.shop {
				t.Errorf("the HTTP session lives: %v, want %v (%s)", live, tc.shop, tc.why)
			}
		})
	}
	b := newBench(t, reference.Options{})
	g := b.login("ada")
	for _, sel := range []reference.Selection{{}, {User: "ada", All: true}, {Session: g.Session, User: "ada"}} {
		if n, err := b.Terminate(t.Context(), sel); err == nil || n != 0 {
			t.Errorf("Terminate(%+v) = %d, %v, want an error: exactly one field is set", sel, n, err)
		}
	}
	b.good(g.Token, "a selection that is no selection ends nothing")
}

func TestDisabledUser(t *testing.T) {
	b := newBench(t, reference.Options{})
	ada, bob := b.login("ada"), b.login("bob")
	if err := b.DisableUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	b.closedBy(ada.Session, reference.ByAdmin, "ASVS 7.4.2")
	b.good(bob.Token, "another user")
	right := reference.LoginRequest{User: "ada", Password: "secret of ada"}
	if _, err := b.Login(t.Context(), right); !errors.Is(err, reference.ErrCredentials) {
		t.Errorf("Login of a disabled user = %v, want ErrCredentials", err)
	}
	if err := b.EnableUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	b.refused(ada.Token, reference.ErrClosed, "what was ended stays ended")
	b.login("ada")
}

func TestDisablingOutlivesTheService(t *testing.T) {
	b := newBench(t, reference.Options{})
	if err := b.DisableUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	again := newBench(t, reference.Options{Store: b.store})
	if _, err := again.Login(t.Context(), reference.LoginRequest{User: "ada", Password: "secret of ada"}); !errors.Is(err, reference.ErrCredentials) {
		t.Errorf("Login after a restart = %v, want ErrCredentials (ASVS 7.4.2)", err)
	}
	again.login("bob")
}

func TestDisablingRacesLogin(t *testing.T) {
	for range 50 {
		b := newBench(t, reference.Options{})
		var done sync.WaitGroup
		for range 4 {
			done.Go(func() {
				_, _ = b.Login(t.Context(), reference.LoginRequest{User: "ada", Password: "secret of ada"})
			})
		}
		if err := b.DisableUser(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		done.Wait()
		list, err := b.List(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(open(list)); n != 0 {
			t.Fatalf("%d sessions of a disabled user are open (ASVS 7.4.2)", n)
		}
	}
}

func TestListAndSweep(t *testing.T) {
	for _, name := range []string{"List", "Sweep"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, reference.Options{Limits: reference.Limits{Idle: idle, HTTPIdle: 10 * time.Minute, Absolute: absolute}})
			stale, childless, late := b.login("ada"), b.login("ada"), b.login("bob")
			b.open(stale.Session, "shop")
			b.pass(idle)
			late.Token = b.good(late.Token, "in time")
			b.pass(milli)
			expiring := b.login("bob")
			b.open(expiring.Session, "shop")
			b.pass(10*time.Minute + milli)
			if name == "List" {
				if _, err := b.List(t.Context(), ""); err != nil {
					t.Fatal(err)
				}
			} else if n, err := b.Sweep(t.Context()); err != nil || n != 3 {
				t.Errorf("Sweep = %d, %v, want 3", n, err)
			}
			b.closedBy(stale.Session, reference.ByIdle, "claim 8")
			b.closedBy(childless.Session, reference.ByIdle, "claim 8")
			b.closedBy(expiring.Session, reference.ByLastHTTP, "AJ-3.3")
			b.closedBy(late.Session, "", "WF-8.3")
			b.good(late.Token, "neither renewed nor consumed")
		})
	}
	t.Run("IDs are blanked", func(t *testing.T) {
		b := newBench(t, reference.Options{})
		b.good(b.login("ada").Token, "fresh")
		list, err := b.List(t.Context(), "ada")
		if err != nil || len(list) != 1 || !list[0].Current.ID.IsZero() || !list[0].Previous.ID.IsZero() || list[0].Current.Timestamp == 0 {
			t.Errorf("List = %+v, %v, want one session without session IDs", list, err)
		}
	})
	t.Run("forgetting", func(t *testing.T) {
		b := newBench(t, reference.Options{Limits: reference.Limits{Idle: idle, Absolute: absolute}})
		g := b.login("ada")
		if err := b.Logout(t.Context(), reference.Presented{Token: g.Token}); err != nil {
			t.Fatal(err)
		}
		b.pass(absolute)
		if _, err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.refused(g.Token, reference.ErrClosed, "remembered as long as a token can matter")
		b.pass(milli)
		if _, err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.refused(g.Token, reference.ErrUnknown, "then forgotten, and refused all the same")
	})
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(o *reference.Options)
		want string
	}{
		{"no store", func(o *reference.Options) { o.Store = nil }, "no store"},
		{"negative limit", func(o *reference.Options) { o.Limits.Idle = -1 }, "idle limit"},
		{"below the clock", func(o *reference.Options) { o.Limits.Absolute = time.Microsecond }, "millisecond"},
		{"rotation", func(o *reference.Options) { o.Rotation = "sometimes" }, `"sometimes"`},
		{"replay", func(o *reference.Options) { o.Replay = "ignore" }, `"ignore"`},
		{"session limit", func(o *reference.Options) { o.MaxSessions = -1 }, "-1 sessions"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := reference.Options{Store: memstore.Open()}
			tc.edit(&o)
			if _, err := reference.NewService(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewService = %v, want an error that says %q", err, tc.want)
			}
		})
	}
	svc, err := reference.NewService(reference.Options{Store: memstore.Open()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Login(t.Context(), reference.LoginRequest{User: "ada"}); !errors.Is(err, reference.ErrCredentials) {
		t.Errorf("Login where nobody is known = %v, want ErrCredentials", err)
	}
	if now, _ := svc.Time(t.Context()); time.Since(now).Abs() > time.Minute {
		t.Errorf("Time = %v, want the system's", now)
	}
}

// watcher writes down what it is told.
type watcher struct {
	mu   sync.Mutex
	seen []string
	at   map[string]func() // what to do at a point
}

func (w *watcher) Event(_ context.Context, e reference.Event) {
	w.note(fmt.Sprintf("%s>%s %s %v", e.Part, e.Peer, e.Op, e.Err == nil))
}

func (w *watcher) Point(_ context.Context, name string) {
	w.note("at " + name)
	w.mu.Lock()
	f := w.at[name]
	delete(w.at, name)
	w.mu.Unlock()
	if f != nil {
		f()
	}
}

func (w *watcher) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
}

func (w *watcher) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func TestObserverSeesWhoDoesWhat(t *testing.T) {
	w := &watcher{}
	b := newBench(t, reference.Options{Observer: w, Replay: reference.RevokeFamily})
	expect := func(what string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, w.taken()); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	g := b.login("ada")
	expect("log-in", "service>service generate true", "service>database create true")
	next := b.good(g.Token, "fresh")
	expect("renewal",
		"at before-verify", "service>database lookup true", "service>service compare true", "service>service elapsed true",
		"service>service generate true", "at between-verify-replace", "service>database replace true", "at after-replace")
	b.open(g.Session, "shop")
	expect("HTTP session", "service>database lookup true", "service>service elapsed true", "at in-register", "service>database http true")
	if err := b.Logout(t.Context(), reference.Presented{Token: next}); err != nil {
		t.Error(err)
	}
	expect("log-out", "service>database lookup true", "service>service compare true", "service>service elapsed true", "at in-logout", "service>database close true", "at after-close")

	g = b.login("ada")
	w.taken()
	b.pass(idle + milli)
	b.refused(g.Token, reference.ErrExpired, "claim 7")
	expect("time-out", "at before-verify", "service>database lookup true", "service>service compare true", "service>service elapsed false", "service>database close true")

	g = b.login("ada")
	b.good(g.Token, "fresh")
	w.taken()
	b.refused(g.Token, reference.ErrSpent, "claim 4")
	expect("replay", "at before-verify", "service>database lookup true", "service>service compare false", "service>service elapsed true", "service>database close true")
}

// Two presenters of one token, played out in a chosen order.
func TestRaceOfTwo(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options reference.Options
		between func(b *bench, g reference.Grant) // while the first waits to replace
		want    func(b *bench, g, winner reference.Grant) (reference.Token, error)
		why     string
	}{
		{"strict", reference.Options{}, nil, func(*bench, reference.Grant, reference.Grant) (reference.Token, error) {
			return reference.Token{}, reference.ErrSpent
		}, "WF-4.3: the one who commits first wins"},
		{"coalesce", reference.Options{Rotation: reference.Coalesce}, nil, func(_ *bench, _, winner reference.Grant) (reference.Token, error) {
			return winner.Token, nil
		}, "D3: the loser of the commit gets the same successor"},
		{"revoke-family", reference.Options{Replay: reference.RevokeFamily}, nil, func(*bench, reference.Grant, reference.Grant) (reference.Token, error) {
			return reference.Token{}, reference.ErrSpent
		}, "D5: the loser presented a spent token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &watcher{at: map[string]func(){}}
			tc.options.Observer = w
			b := newBench(t, tc.options)
			g := b.login("ada")
			var winner reference.Grant
			w.at["between-verify-replace"] = func() { winner, _ = b.renew(g.Token) }
			got, err := b.renew(g.Token)
			wantToken, want := tc.want(b, g, winner)
			if winner.Token.IsZero() || got.Token != wantToken || !errors.Is(err, want) {
				t.Errorf("the slower presenter got %v, %v, want %v, %v (%s)", got.Token, err, wantToken, want, tc.why)
			}
			if tc.options.Replay == reference.RevokeFamily {
				b.closedBy(g.Session, reference.ByReplay, tc.why)
			}
		})
	}
	for name, end := range map[string]func(b *bench, g reference.Grant) error{
		"log-out": func(b *bench, g reference.Grant) error {
			return b.Logout(b.t.Context(), reference.Presented{Token: g.Token})
		},
		"administrator": func(b *bench, _ reference.Grant) error {
			_, err := b.Terminate(b.t.Context(), reference.Selection{All: true})
			return err
		},
		"last HTTP session": func(b *bench, g reference.Grant) error {
			b.open(g.Session, "shop")
			return b.EndHTTP(b.t.Context(), g.Session, "shop")
		},
	} {
		t.Run("renewal held over the end by "+name, func(t *testing.T) {
			w := &watcher{at: map[string]func(){}}
			b := newBench(t, reference.Options{Observer: w})
			g := b.login("ada")
			w.at["between-verify-replace"] = func() {
				if err := end(b, g); err != nil {
					t.Error(err)
				}
			}
			b.refused(g.Token, reference.ErrClosed, "F39: a hop in flight does not bring a closed session back")
		})
		t.Run("HTTP session held over the end by "+name, func(t *testing.T) {
			w := &watcher{at: map[string]func(){}}
			b := newBench(t, reference.Options{Observer: w})
			g := b.login("ada")
			w.at["in-register"] = func() {
				if err := end(b, g); err != nil {
					t.Error(err)
				}
			}
			if _, err := b.OpenHTTP(t.Context(), g.Session, "mail"); !errors.Is(err, reference.ErrClosed) {
				t.Errorf("OpenHTTP over the end = %v, want ErrClosed (AJ-5.3, F43)", err)
			}
		})
	}
	t.Run("log-out held over a renewal", func(t *testing.T) {
		w := &watcher{at: map[string]func(){}}
		b := newBench(t, reference.Options{Observer: w})
		g := b.login("ada")
		var next reference.Token
		w.at["in-logout"] = func() { next = b.good(g.Token, "the log-out has not happened yet") }
		if err := b.Logout(t.Context(), reference.Presented{Token: g.Token}); err != nil {
			t.Fatal(err)
		}
		b.refused(next, reference.ErrClosed, "D20: its token dies with the session")
	})
}

// failing is a store whose calls fail one by one.
type failing struct {
	reference.Store
	fail map[string]error // before the call
	lose map[string]error // after it
}

func (f *failing) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	if err := f.fail["Find"]; err != nil {
		return reference.SecuritySession{}, err
	}
	return f.Store.Find(ctx, id)
}

func (f *failing) Replace(ctx context.Context, old, next reference.Token) error {
	if err := f.fail["Replace"]; err != nil {
		return err
	}
	if err := f.Store.Replace(ctx, old, next); err != nil {
		return err
	}
	return f.lose["Replace"]
}

func (f *failing) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	if err := f.fail["CloseSession"]; err != nil {
		return false, err
	}
	return f.Store.CloseSession(ctx, ref, why, at)
}

func TestSystemFailures(t *testing.T) {
	broken := errors.New("disk on fire")
	setup := func(t *testing.T, o reference.Options) (*bench, *failing, reference.Grant) {
		f := &failing{Store: memstore.Open(), fail: map[string]error{}, lose: map[string]error{}}
		o.Store = f
		b := newBench(t, o)
		return b, f, b.login("ada")
	}
	t.Run("nothing was consumed", func(t *testing.T) {
		for _, call := range []string{"Find", "Replace"} {
			b, f, g := setup(t, reference.Options{})
			f.fail[call] = broken
			b.refused(g.Token, broken, "a failure fails closed")
			delete(f.fail, call)
			b.good(g.Token, "F20: consumed if, and only if, committed")
		}
	})
	t.Run("the answer was lost", func(t *testing.T) {
		b, f, g := setup(t, reference.Options{})
		f.lose["Replace"] = broken
		b.refused(g.Token, broken, "nobody knows: no token is handed out")
		delete(f.lose, "Replace")
		b.refused(g.Token, reference.ErrSpent, "D4: strict loses the session")
		b, f, g = setup(t, reference.Options{Rotation: reference.Coalesce})
		f.lose["Replace"] = broken
		b.refused(g.Token, broken, "nobody knows")
		delete(f.lose, "Replace")
		next := b.good(g.Token, "D4: coalesce answers the retry")
		b.good(next, "by the successor that was committed")
	})
	t.Run("a time-out that cannot be written", func(t *testing.T) {
		b, f, g := setup(t, reference.Options{})
		b.pass(idle + milli)
		f.fail["CloseSession"] = broken
		b.refused(g.Token, broken, "refused in any case")
	})
	t.Run("no randomness", func(t *testing.T) {
		store := memstore.Open()
		b := newBench(t, reference.Options{Store: store})
		g := b.login("ada")
		dry := newBench(t, reference.Options{Store: store, Rand: iotest.ErrReader(broken)})
		dry.refused(g.Token, broken, "no ID, no token")
		if _, err := dry.Login(t.Context(), reference.LoginRequest{User: "ada", Password: "secret of ada"}); !errors.Is(err, broken) {
			t.Errorf("Login without randomness = %v", err)
		}
		b.good(g.Token, "nothing was consumed")
	})
	t.Run("errors show no token", func(t *testing.T) {
		b, f, g := setup(t, reference.Options{})
		f.fail["Find"] = broken
		_, err := b.renew(g.Token)
		if strings.Contains(err.Error(), g.Token.ID.String()) || strings.Contains(err.Error(), fmt.Sprint(g.Token.Timestamp)) {
			t.Errorf("error shows the token: %v", err)
		}
	})
}

// Concurrent browsers, judged by the specification and not by final state.
func TestConcurrentHistories(t *testing.T) {
	const grace = 5 * time.Second // virtual: the clock stands still
	stores := map[string]func(t *testing.T) reference.Store{
		"memory": func(*testing.T) reference.Store { return memstore.Open() },
		"sqlite": func(t *testing.T) reference.Store {
			db, err := sqlstore.Open(":memory:")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		},
	}
	for store, open := range stores {
		for _, rules := range []model.Rules{{}, {Coalesce: true, Grace: grace}} {
			t.Run(fmt.Sprintf("%s, coalesce %v", store, rules.Coalesce), func(t *testing.T) {
				o := reference.Options{Store: open(t), Observer: yielding{}}
				if rules.Coalesce {
					o.Rotation, o.Grace = reference.Coalesce, grace
				}
				b := newBench(t, o)
				ops := drive(b)
				overlaps := 0
				for i, a := range ops {
					for _, c := range ops[:i] {
						if a.Presented != "" && a.Presented == c.Presented && a.Call <= c.Return && c.Call <= a.Return {
							overlaps++
						}
					}
				}
				if overlaps == 0 {
					t.Error("no two uses of one token overlapped: the history proves nothing")
				}
				for _, v := range model.Check(ops, rules) {
					t.Errorf("%s: %s", v.Invariant, v.Text)
				}
			})
		}
	}
}

// yielding lets others go first wherever a race can be lost.
type yielding struct{ reference.Silent }

func (yielding) Point(context.Context, string) {
	for range 20 {
		runtime.Gosched()
	}
}

// drive lets several browsers of each session present tokens at once: the
// newest they know of, and now and then an old one.
func drive(b *bench) []model.Op {
	const sessions, browsers, steps = 3, 4, 25
	origin := time.Now()
	var mu sync.Mutex
	var ops []model.Op
	record := func(op model.Op, f func() (reference.Token, error)) {
		op.Call = time.Since(origin)
		issued, err := f()
		op.Return, op.Outcome = time.Since(origin), model.Accepted
		if err != nil {
			op.Outcome = model.Refused
		} else if !issued.IsZero() {
			op.Issued = issued.String()
		}
		mu.Lock()
		defer mu.Unlock()
		ops = append(ops, op)
	}
	var done sync.WaitGroup
	for s := range sessions {
		name := fmt.Sprint("session ", s)
		var known []reference.Token
		record(model.Op{Kind: model.Login, Session: name}, func() (reference.Token, error) {
			g, err := b.Login(context.Background(), reference.LoginRequest{User: "ada", Password: "secret of ada"})
			known = []reference.Token{g.Token}
			return g.Token, err
		})
		var knownMu sync.Mutex
		for i := range browsers {
			random := rand.New(rand.NewPCG(uint64(s), uint64(i)))
			done.Go(func() {
				for step := range steps {
					knownMu.Lock()
					tok := known[len(known)-1]
					if random.IntN(4) == 0 {
						tok = known[random.IntN(len(known))]
					}
					knownMu.Unlock()
					if i == 0 && step == steps-5 {
						record(model.Op{Kind: model.Close, Session: name, Presented: tok.String()}, func() (reference.Token, error) {
							return reference.Token{}, b.Logout(context.Background(), reference.Presented{Token: tok})
						})
						continue
					}
					record(model.Op{Kind: model.Present, Session: name, Presented: tok.String()}, func() (reference.Token, error) {
						g, err := b.renew(tok)
						if err == nil {
							knownMu.Lock()
							known = append(known, g.Token)
							knownMu.Unlock()
						}
						return g.Token, err
					})
				}
			})
		}
	}
	done.Wait()
	return ops
}

func TestRenewAllocatesOnlyItsID(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBench(t, reference.Options{Store: still{}, Rand: zeroes{}})
	r := reference.Presented{Token: still{}.token()}
	ctx := context.Background()
	if n := testing.AllocsPerRun(200, func() {
		if _, err := b.Renew(ctx, r); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("Renew allocates %v times beside its store, want at most the ID it reads into", n)
	}
}

// still is a store in which nothing ever changes.
type still struct{ reference.Store }

func (still) token() reference.Token {
	return reference.Token{ID: reference.ID{1}, Timestamp: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMilli()}
}

func (s still) Find(context.Context, reference.ID) (reference.SecuritySession, error) {
	return reference.SecuritySession{Ref: reference.ID{2}, Current: s.token(), AuthenticatedAt: s.token().Timestamp}, nil
}

func (still) Replace(context.Context, reference.Token, reference.Token) error { return nil }

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func BenchmarkRenewInMemory(b *testing.B) {
	bench := newBench(b, reference.Options{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		g := bench.login("ada")
		for pb.Next() {
			next, err := bench.Renew(context.Background(), reference.Presented{Token: g.Token})
			if err != nil {
				b.Error(err)
				return
			}
			g = next
		}
	})
}

func BenchmarkRenewContended(b *testing.B) {
	bench := newBench(b, reference.Options{Rotation: reference.Coalesce})
	var current atomic.Pointer[reference.Token]
	first := bench.login("ada").Token
	current.Store(&first)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if g, err := bench.Renew(context.Background(), reference.Presented{Token: *current.Load()}); err == nil {
				current.Store(&g.Token)
			} else if !errors.Is(err, reference.ErrSpent) {
				b.Error(err)
				return
			}
		}
	})
}
