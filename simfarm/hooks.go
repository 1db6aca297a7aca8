package simfarm

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
)

// accounts is the farm's farmspec.Accounts: every call makes a user.
type accounts struct{ f *Farm }

func (a accounts) New(_ context.Context, hint string) (farmspec.User, error) {
	hint = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(hint))
	if hint == "" {
		hint = "user"
	}
	// The closing letter keeps one name from being the beginning of another.
	u := farmspec.User{Name: fmt.Sprintf("%s-%dx", hint, a.f.accounts.Add(1)), Password: crand.Text()}
	if err := a.f.users.Add(u.Name, u.Password); err != nil {
		return farmspec.User{}, fmt.Errorf("make account: %w", err)
	}
	return u, nil
}

// serviceHook is the farm's farmspec.ServiceHook, over HTTP as a member's
// client is.
type serviceHook struct{ f *Farm }

func (h serviceHook) Endpoint() string { return h.f.ServiceURL() }

func (h serviceHook) Authorize(header http.Header, member string) error {
	secret, ok := h.f.secrets[member]
	if !ok {
		return fmt.Errorf("authorize request: no member %q", member)
	}
	header.Set("Authorization", "Bearer "+secret)
	return nil
}

func (h serviceHook) client(member string) (*web.Client, error) {
	o := web.ClientOptions{URL: h.f.ServiceURL(), Member: member, Transport: h.f.transport, Timeout: callTimeout}
	if member == "" {
		o.Transport = nameless{h.f.transport}
		return web.NewClient(o), nil
	}
	secret, ok := h.f.secrets[member]
	if !ok {
		return nil, fmt.Errorf("no member %q", member)
	}
	o.Secret = secret
	return web.NewClient(o), nil
}

// nameless sends no credential.
type nameless struct{ rt http.RoundTripper }

func (n nameless) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	return n.rt.RoundTrip(r)
}

// as calls the service as the member, with the token.
func (h serviceHook) as(member, action string, p farmspec.PlainToken, call func(*web.Client, reference.Presented) error) error {
	c, err := h.client(member)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	t, err := tokenOf(p)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return refused(call(c, reference.Presented{Token: t}))
}

func (h serviceHook) Verify(ctx context.Context, member string, p farmspec.PlainToken) error {
	return h.as(member, "verify", p, func(c *web.Client, r reference.Presented) error {
		_, err := c.Verify(ctx, r)
		return err
	})
}

func (h serviceHook) Renew(ctx context.Context, member string, p farmspec.PlainToken) (next farmspec.PlainToken, err error) {
	err = h.as(member, "renew", p, func(c *web.Client, r reference.Presented) error {
		g, err := c.Renew(ctx, r)
		if err == nil {
			next = plain(g.Token)
		}
		return err
	})
	return next, err
}

func (h serviceHook) CreateHTTPSession(ctx context.Context, member string, p farmspec.PlainToken, app string) error {
	return h.as(member, "create HTTP session", p, func(c *web.Client, r reference.Presented) error {
		_, err := c.CreateHTTP(ctx, r, app)
		return err
	})
}

// refusals are the answers of the service that are no failure of the system.
var refusals = []error{
	reference.ErrUnknown, reference.ErrSpent, reference.ErrExpired, reference.ErrClosed, reference.ErrConflict,
	reference.ErrMismatch, reference.ErrCredentials, reference.ErrCaller,
}

// refused marks a refusal as farmspec.ErrRefused.
func refused(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r) {
			return fmt.Errorf("%w: %w", farmspec.ErrRefused, err)
		}
	}
	return err
}

// adminHook is the farm's farmspec.AdminHook, over the API's administrator routes.
type adminHook struct{ c *web.AdminClient }

func (h adminHook) Sessions(ctx context.Context, user string) ([]farmspec.SessionInfo, error) {
	all, err := h.c.List(ctx, user)
	if err != nil {
		return nil, refused(err)
	}
	infos := make([]farmspec.SessionInfo, len(all))
	for i := range all {
		infos[i] = infoOf(&all[i])
	}
	return infos, nil
}

func (h adminHook) EndHTTPSession(ctx context.Context, id string) error {
	parsed, err := reference.ParseID(id)
	if err != nil {
		return fmt.Errorf("end HTTP session: %w", err)
	}
	return h.end(ctx, reference.Selection{HTTPSession: parsed})
}

func (h adminHook) EndSession(ctx context.Context, ref string) error {
	parsed, err := reference.ParseID(ref)
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return h.end(ctx, reference.Selection{Session: parsed})
}

func (h adminHook) EndUser(ctx context.Context, user string) error {
	return h.end(ctx, reference.Selection{User: user})
}

func (h adminHook) EndAll(ctx context.Context) error {
	return h.end(ctx, reference.Selection{All: true})
}

func (h adminHook) DisableUser(ctx context.Context, user string) error {
	return refused(h.c.DisableUser(ctx, user))
}

func (h adminHook) EnableUser(ctx context.Context, user string) error {
	return refused(h.c.EnableUser(ctx, user))
}

func (h adminHook) end(ctx context.Context, s reference.Selection) error {
	_, err := h.c.Terminate(ctx, s)
	if errors.Is(err, saml.ErrPartial) {
		return fmt.Errorf("%w: %w", farmspec.ErrPartial, err)
	}
	return refused(err)
}

// processHook is the farm's farmspec.ProcessHook.
type processHook struct{ f *Farm }

func (h processHook) Stop(_ context.Context, name string) error {
	if name == farmspec.DatabaseProcess {
		return h.f.db.stop()
	}
	p, err := h.find("stop", name)
	if err != nil {
		return err
	}
	p.kill()
	// A connection kept open to the dead process would fail its first user.
	h.f.transport.CloseIdleConnections()
	return nil
}

func (h processHook) Start(ctx context.Context, name string) error {
	if name == farmspec.DatabaseProcess {
		return h.f.db.start(ctx)
	}
	p, err := h.find("start", name)
	if err != nil {
		return err
	}
	return p.start(ctx)
}

func (h processHook) find(action, name string) (*process, error) {
	known := farmspec.DatabaseProcess
	for _, p := range h.f.processes() {
		if p.name == name && p != h.f.front {
			return p, nil
		}
		known += ", " + p.name
	}
	return nil, fmt.Errorf("%s process %q: no such process; there are %s", action, name, known)
}
