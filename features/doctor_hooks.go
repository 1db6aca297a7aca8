package features

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/farmspec/farmspec"
)

// What the doctor does with hooks: each must do what it says to a session of
// the doctor's own.

// askItself is how to mend a hook that fails.
const askItself = "try it by itself"

// keys opens a browser's token and seals it again.
func (d *doctor) keys(ctx context.Context) {
	k := d.hooks.Keys
	if k == nil {
		return
	}
	p := d.loggedIn(ctx, "ada", d.target.Members[0])
	if p == nil {
		return
	}
	t, err := k.Open(p.current().value)
	switch {
	case isRefusal(err):
		d.ill("hooks.keys.open", "it gets the value of the carrier as browsers have it", "the keys do not open the token of %s", p.user.Name)
		return
	case err != nil:
		d.ill("hooks.keys.open", askItself, "%v", err)
		return
	}
	d.keepSecret(t.ID)
	if sealed, err := k.Seal(t); !errors.Is(err, farmspec.ErrNoHook) {
		again, opening := k.Open(sealed)
		switch {
		case err != nil:
			d.ill("hooks.keys.seal", askItself, "%v", err)
			return
		case opening != nil || again != t:
			d.ill("hooks.keys.seal", "it must seal with the farm's keys", "hooks.keys.open does not open what it sealed")
			return
		}
	}
	if foreign, err := k.SealForeign(t); !errors.Is(err, farmspec.ErrNoHook) {
		_, opening := k.Open(foreign)
		switch {
		case err != nil:
			d.ill("hooks.keys.seal_foreign", askItself, "%v", err)
			return
		case !isRefusal(opening):
			d.ill("hooks.keys.seal_foreign", "it must seal with a key that is not the farm's, and hooks.keys.open answer {} to what that sealed", "what it sealed is not refused by hooks.keys.open: %v", opening)
			return
		}
	}
	d.fine("hooks.keys", "the keys open the token of %s", p.user.Name)
}

// service asks for a good token in the name of each member, where the keys
// show one, and for one that was never issued.
func (d *doctor) service(ctx context.Context) {
	s := d.hooks.Service
	if s == nil {
		return
	}
	for _, m := range d.target.Members {
		switch err := s.Verify(ctx, m.Name, d.neverIssued()); {
		case err == nil:
			d.ill("hooks.service.url", "is it the session service?", "it verifies a token that was never issued")
			return
		case !isRefusal(err):
			cause, mend := unreachable(err)
			d.ill("hooks.service.url", mend, "it does not answer %s: %s", m.Name, cause)
			return
		}
	}
	if d.hooks.Keys == nil {
		d.fine("hooks.service", "it answers; that it knows good tokens cannot be seen without hooks.keys")
		return
	}
	p := d.loggedIn(ctx, "ada", d.target.Members[0])
	if p == nil {
		return
	}
	t, err := d.hooks.Keys.Open(p.current().value)
	if err != nil {
		return // keys said so
	}
	for _, m := range d.target.Members {
		if err := s.Verify(ctx, m.Name, t); err != nil {
			d.ill("hooks.service.credentials."+m.Name, "correct the credential", "it does not verify a good token for %s: %v", m.Name, err)
			return
		}
	}
	if s.Verify(ctx, "", t) == nil {
		d.odd("hooks.service.credentials", "the scenarios will say so", "the session service verifies tokens for whoever asks")
	}
	d.fine("hooks.service", "it verifies a good token for each member, and none that was never issued")
}

// database finds the row of a session and removes it.
func (d *doctor) database(ctx context.Context) {
	b := d.hooks.Database
	if b == nil {
		return
	}
	m := d.target.Members[0]
	p := d.loggedIn(ctx, "ada", m)
	if p == nil {
		return
	}
	rows, err := b.Rows(ctx, p.user.Name)
	if err != nil {
		d.ill("hooks.database.rows", askItself, "%v", err)
		return
	}
	rows = slices.DeleteFunc(rows, func(r farmspec.Row) bool { return !r.Open || r.User != p.user.Name })
	if len(rows) == 0 {
		d.ill("hooks.database.rows", "it must show the open sessions of the user it gets", "%s is signed in, and it shows no row of an open session", p.user.Name)
		return
	}
	if d.hooks.Keys != nil {
		t, err := d.hooks.Keys.Open(p.current().value)
		i := slices.IndexFunc(rows, func(r farmspec.Row) bool { return r.Token == t })
		if err == nil && i < 0 {
			d.ill("hooks.database.rows", "its token must be the one that hooks.keys.open shows", "no row of %s has the token that his browser has", p.user.Name)
			return
		}
		if err == nil {
			if err := b.SetToken(ctx, rows[i].Ref, t); err != nil && !errors.Is(err, farmspec.ErrNoHook) {
				d.ill("hooks.database.set_token", askItself, "%v", err)
				return
			}
		}
	}
	for _, r := range rows {
		if err = b.Remove(ctx, r.Ref); err != nil {
			break
		}
	}
	switch a := d.visit(ctx, p, m, d.home(m)); {
	case errors.Is(err, farmspec.ErrNoHook):
	case err != nil:
		d.ill("hooks.database.remove", askItself, "%v", err)
		return
	case a.outcome == farmspec.Accepted:
		d.odd("hooks.database.remove", "see that it removes the row that the farm reads; the scenarios will say so", "%s's rows are removed, and the session is still served", p.user.Name)
		return
	}
	d.fine("hooks.database", "it shows the row of %s's session", p.user.Name)
}

// admin lists and ends a session.
func (d *doctor) admin(ctx context.Context) {
	h := d.hooks.Admin
	if h == nil {
		return
	}
	m := d.target.Members[0]
	p := d.loggedIn(ctx, "ada", m)
	if p == nil {
		return
	}
	ref := ""
	all, err := h.Sessions(ctx, p.user.Name)
	switch i := slices.IndexFunc(all, func(s farmspec.SessionInfo) bool { return s.Open && s.User == p.user.Name }); {
	case errors.Is(err, farmspec.ErrNoHook):
	case err != nil:
		cause, mend := unreachable(err)
		d.ill("hooks.admin", mend, "the administrator cannot list sessions: %s", cause)
		return
	case i < 0:
		d.ill("hooks.admin", "it must list the open sessions of the user it gets", "%s is signed in, and the administrator sees no open session", p.user.Name)
		return
	default:
		ref = all[i].Ref
	}
	what := "all sessions of " + p.user.Name
	err = h.EndUser(ctx, p.user.Name)
	if errors.Is(err, farmspec.ErrNoHook) && ref != "" {
		what = "a session of " + p.user.Name
		err = h.EndSession(ctx, ref)
	}
	switch a := d.visit(ctx, p, m, d.home(m)); {
	case errors.Is(err, farmspec.ErrNoHook):
		d.fine("hooks.admin", "the administrator sees the session of %s", p.user.Name)
	case err != nil:
		d.ill("hooks.admin", askItself, "the administrator cannot end %s: %v", what, err)
	case a.outcome == farmspec.Accepted:
		d.odd("hooks.admin", "see that it ends what the farm reads; the scenarios will say so", "the administrator ended %s, who is still served", what)
	default:
		d.fine("hooks.admin", "the administrator ends %s", what)
	}
}

// logs reads what parts have written, which is something by now.
func (d *doctor) logs(ctx context.Context) {
	if d.hooks.Logs == nil {
		return
	}
	all, err := d.hooks.Logs.Read(ctx)
	if err != nil {
		d.ill("hooks.logs", askItself, "%v", err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] == "" {
			d.odd("hooks.logs."+name, "see that it prints the log", "the log of %s is empty", name)
			continue
		}
		d.fine("hooks.logs."+name, "the log of %s has %d bytes", name, len(all[name]))
	}
}

// partBehind stops and starts what is behind the members: meanwhile nobody is
// served, and afterwards members answer again.
func (d *doctor) partBehind(ctx context.Context, name string) {
	field, m := "hooks.processes."+name, d.target.Members[0]
	p := d.loggedIn(ctx, "ada", m)
	if p == nil {
		return
	}
	switch err := d.hooks.Processes.Stop(ctx, name); {
	case errors.Is(err, farmspec.ErrNoHook):
		return
	case err != nil:
		d.ill(field+".stop", askItself, "%v", err)
		return
	}
	stopped := d.visit(ctx, p, m, d.home(m))
	if err := d.hooks.Processes.Start(ctx, name); err != nil {
		d.ill(field+".start", askItself, "%v", err)
		return
	}
	began := time.Now()
	if err := d.until(ctx, func() error {
		a := d.visit(ctx, p, m, d.home(m))
		if x := a.final(); a.outcome == farmspec.NoAnswer || x.Status >= 500 {
			return fmt.Errorf("a page is %s", a.describe())
		}
		return nil
	}); err != nil {
		d.ill(field+".start", askItself, "20 s after the %s was started %v", name, err)
		return
	}
	if stopped.outcome == farmspec.Accepted {
		d.odd(field+".stop", "see that it ends the process itself; the scenarios will say so", "pages are served while the %s is stopped", name)
		return
	}
	d.fine(field, "the %s stops, and members answer %v after it was started", name, time.Since(began).Round(10*time.Millisecond))
}

// until tries for 20 seconds and returns the last error.
func (d *doctor) until(ctx context.Context, try func() error) error {
	began, err := time.Now(), try()
	for err != nil && time.Since(began) < 20*time.Second && ctx.Err() == nil {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
		err = try()
	}
	return err
}
