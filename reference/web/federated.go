package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/oidc"
	"github.com/farmspec/farmspec/reference/saml"
)

// Tickets is a Directory for a service that takes part in single sign-on: who
// is known by an assertion gets in by a ticket, good once, in place of a
// password. Everybody else is asked of Accounts.
type Tickets struct {
	reference.Accounts
	issued sync.Map // ticket to user
}

// Authenticate implements reference.Directory.
func (t *Tickets) Authenticate(ctx context.Context, user, password string) error {
	if who, ok := t.issued.LoadAndDelete(password); ok && who == user && user != "" {
		return nil
	}
	return t.Accounts.Authenticate(ctx, user, password)
}

func (t *Tickets) issue(user string) string {
	ticket := rand.Text()
	t.issued.Store(ticket, user)
	return ticket
}

// FederatedOptions make a Federated. Tickets must be the service's Users.
type FederatedOptions struct {
	Tickets *Tickets
	// Participant is the farm's side of SAML; its End is set here.
	Participant saml.ParticipantOptions
	// Receiver takes log-out tokens. Nil refuses them all.
	Receiver *oidc.Receiver
	// FrontChannel sends a user's log-out to the provider by redirect, with his
	// browser. What is ended without one, as by an administrator, always goes
	// over the back channel.
	FrontChannel bool
}

// Federated is a service that takes part in single log-out (AS Java, workflow,
// step 6, note). What ends a session by intent, a user's log-out and an
// administrator's, ends it here first, unconditionally, and is then told to
// the provider (D17). What ends by its own limit ends here alone. A session
// that came of single sign-on ends at the latest with the provider's.
type Federated struct {
	Service
	o FederatedOptions
	p *saml.Participant
}

var (
	_ Service    = (*Federated)(nil)
	_ Federation = (*Federated)(nil)
)

// NewFederated makes a service take part. It starts nothing.
func NewFederated(s Service, o FederatedOptions) (*Federated, error) {
	f := &Federated{Service: s, o: o}
	o.Participant.End = f.end
	var err error
	if f.p, err = saml.NewParticipant(o.Participant); err != nil {
		return nil, fmt.Errorf("make service take part in single log-out: %w", err)
	}
	if o.Tickets == nil {
		return nil, errors.New("make service take part in single log-out: Tickets are required")
	}
	return f, nil
}

// Participant is the farm's side of SAML.
func (f *Federated) Participant() *saml.Participant { return f.p }

// end ends a session that others have logged out.
func (f *Federated) end(ctx context.Context, ref string) error {
	id, err := reference.ParseID(ref)
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	_, err = f.Service.Terminate(ctx, reference.Selection{Session: id, Why: reference.BySingleLogout})
	if errors.Is(err, reference.ErrUnknown) {
		return nil
	}
	return err
}

// Login implements reference.Sessions. A sign-on response in place of user and
// password is believed or not; the session is tied to the provider's before
// anybody has its token.
func (f *Federated) Login(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
	response, ok := strings.CutPrefix(r.Password, assertionPrefix)
	if !ok || r.User != "" {
		return f.Service.Login(ctx, r)
	}
	id, err := f.p.Admit(saml.Wire{Binding: saml.Post, Form: url.Values{"SAMLResponse": {response}}})
	if err != nil {
		return reference.Grant{}, fmt.Errorf("log in: %w: %w", reference.ErrCredentials, err)
	}
	g, err := f.Service.Login(ctx, reference.LoginRequest{User: id.NameID, Password: f.o.Tickets.issue(id.NameID), Discard: r.Discard})
	if err != nil {
		return reference.Grant{}, err
	}
	if err := f.p.Enter(ctx, id, g.Session.String()); err != nil {
		return reference.Grant{}, fmt.Errorf("log in: %w: %w", reference.ErrCredentials, err)
	}
	return g, nil
}

// Renew implements reference.Sessions.
func (f *Federated) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := f.Service.Renew(ctx, r)
	return f.within(ctx, g, err)
}

// Verify implements reference.Sessions.
func (f *Federated) Verify(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	g, err := f.Service.Verify(ctx, r)
	return f.within(ctx, g, err)
}

// within closes a session that the provider's limit is over.
func (f *Federated) within(ctx context.Context, g reference.Grant, err error) (reference.Grant, error) {
	if err != nil || !f.p.Over(g.Session.String()) {
		return g, err
	}
	_, err = f.Service.Terminate(ctx, reference.Selection{Session: g.Session, Why: reference.ByAbsolute})
	if err != nil && !errors.Is(err, reference.ErrUnknown) {
		return reference.Grant{}, fmt.Errorf("close session that its provider's has outlived: %w", err)
	}
	return reference.Grant{}, fmt.Errorf("verify session: the provider's is over: %w", reference.ErrExpired)
}

// Logout implements reference.Sessions: everywhere, on the back channel.
func (f *Federated) Logout(ctx context.Context, r reference.Presented) error {
	_, err := f.signOut(ctx, r, false)
	return err
}

// SignIn implements Federation.
func (f *Federated) SignIn(_ context.Context, at, relay string) (string, error) {
	return f.p.SignIn(at, relay)
}

// SignOut implements Federation.
func (f *Federated) SignOut(ctx context.Context, r reference.Presented) (Farewell, error) {
	return f.signOut(ctx, r, f.o.FrontChannel)
}

func (f *Federated) signOut(ctx context.Context, r reference.Presented, front bool) (Farewell, error) {
	g, err := f.Verify(ctx, r)
	if err == nil {
		err = f.Service.Logout(ctx, r)
	}
	if err != nil {
		return Farewell{}, err
	}
	ref := g.Session.String()
	if front {
		w, err := f.p.SignOutBy(saml.Redirect, ref, saml.ByUser)
		if err == nil {
			return Farewell{Location: w.URL}, nil
		}
		return farewell(err), nil
	}
	// Out here is out: that the browser has gone stops nothing.
	return farewell(f.p.SignOut(context.WithoutCancel(ctx), ref, saml.ByUser)), nil
}

func farewell(err error) Farewell {
	switch {
	case err == nil:
		return Farewell{Everywhere: true}
	case errors.Is(err, saml.ErrUnknownSession):
		return Farewell{}
	}
	return Farewell{Partial: true}
}

// Terminate implements Admin. The error is saml.ErrPartial where all that was
// selected has ended here, and somebody else has not confirmed it.
func (f *Federated) Terminate(ctx context.Context, sel reference.Selection) (int, error) {
	refs, err := f.selected(ctx, sel)
	if err != nil {
		return 0, fmt.Errorf("terminate sessions: %w", err)
	}
	n, err := f.Service.Terminate(ctx, sel)
	if err != nil {
		return n, err
	}
	return n, f.spread(ctx, refs, saml.ByAdmin)
}

// EndOwn implements reference.Sessions: to end one's other sessions is a
// log-out as well. How far it has come elsewhere shows in the journal alone.
func (f *Federated) EndOwn(ctx context.Context, c reference.Confirmed, which reference.ID) (n int, err error) {
	err = f.ending(ctx, c.Session, func() error {
		n, err = f.Service.EndOwn(ctx, c, which)
		return err
	})
	return n, err
}

// ChangePassword implements reference.Sessions, and is like EndOwn.
func (f *Federated) ChangePassword(ctx context.Context, c reference.Confirmed, next string, endOthers bool) error {
	return f.ending(ctx, c.Session, func() error { return f.Service.ChangePassword(ctx, c, next, endOthers) })
}

// ending tells the provider which of a user's sessions an act of his has ended.
func (f *Federated) ending(ctx context.Context, session reference.ID, act func() error) error {
	before, err := f.Service.Own(ctx, session)
	if err != nil || len(before) == 0 {
		return act() // which says what is wrong
	}
	refs, err := f.selected(ctx, reference.Selection{User: before[0].User})
	if err != nil {
		return err
	}
	failed := act()
	after, err := f.Service.List(ctx, before[0].User)
	if err != nil {
		return errors.Join(failed, err)
	}
	for i := range after {
		if after[i].Open() {
			refs = slices.DeleteFunc(refs, func(ref string) bool { return ref == after[i].Ref.String() })
		}
	}
	_ = f.spread(ctx, refs, saml.ByUser)
	return failed
}

// DisableUser implements Admin. Who has not confirmed the log-out shows in the
// participant's journal alone: the account is disabled here in any case.
func (f *Federated) DisableUser(ctx context.Context, user string) error {
	refs, err := f.selected(ctx, reference.Selection{User: user})
	if err != nil {
		return fmt.Errorf("disable user: %w", err)
	}
	if err := f.Service.DisableUser(ctx, user); err != nil {
		return err
	}
	_ = f.spread(ctx, refs, saml.ByAdmin)
	return nil
}

// selected are the sessions that a selection will end and that are tied to the
// provider. An HTTP session is no session of the provider's.
func (f *Federated) selected(ctx context.Context, sel reference.Selection) ([]string, error) {
	var refs []string
	add := func(ref string) {
		if _, tied := f.p.Memory.Linked(ref); tied {
			refs = append(refs, ref)
		}
	}
	switch {
	case !sel.HTTPSession.IsZero():
	case !sel.Session.IsZero():
		add(sel.Session.String())
	default:
		all, err := f.Service.List(ctx, sel.User)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].Open() {
				add(all[i].Ref.String())
			}
		}
	}
	return refs, nil
}

// spread tells the provider that sessions have been ended, a few at a time.
func (f *Federated) spread(ctx context.Context, refs []string, why saml.Reason) error {
	ctx = context.WithoutCancel(ctx)
	const few = 8
	errs := make([]error, len(refs))
	slots := make(chan struct{}, few)
	var wg sync.WaitGroup
	for i, ref := range refs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f.p.SignOut(ctx, ref, why); !errors.Is(err, saml.ErrUnknownSession) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("terminate sessions: %w: %w", saml.ErrPartial, err)
	}
	return nil
}

// Deliver implements Federation.
func (f *Federated) Deliver(ctx context.Context, d Delivery) (Answer, error) {
	if d.Path == BackchannelPath {
		return f.receiveToken(ctx, d), nil
	}
	w, err := saml.Received(d.Method, d.Query, d.ContentType, d.Body)
	if err != nil {
		return refusedMessage, nil
	}
	r, err := f.p.Receive(ctx, w)
	switch {
	case err != nil:
		return refusedMessage, nil
	case r.Answer == nil:
		return Answer{Farewell: Farewell{Everywhere: !r.Partial, Partial: r.Partial}}, nil
	}
	var a Answer
	a.Status, a.Location, a.ContentType, a.Body = r.Answer.HTTP(false)
	return a, nil
}

// refusedMessage is the answer to a message that is not believed, whatever the
// reason: who cannot sign needs no help.
var refusedMessage = Answer{Status: http.StatusBadRequest, ContentType: "text/plain; charset=utf-8", Body: []byte("This log-out message is not good here.\n")}

// EndedBy is what a log-out token that was received says has ended: its
// subject is the assertions' and its session their session index.
func EndedBy(c oidc.Claims) saml.Ended {
	e := saml.Ended{NameID: c.Subject, At: time.Unix(c.IssuedAt, 0), Until: time.Unix(c.IssuedAt, 0).Add(oidc.Life)}
	if c.Session != "" {
		e.Indexes = []string{c.Session}
	}
	return e
}

// receiveToken takes a log-out token (OpenID Connect Back-Channel Logout 2.6
// to 2.8).
func (f *Federated) receiveToken(ctx context.Context, d Delivery) Answer {
	failed := Answer{Status: http.StatusBadRequest, ContentType: "application/json", Body: []byte(`{"error":"invalid_request"}`)}
	w, err := saml.Received(d.Method, d.Query, d.ContentType, d.Body)
	if err != nil || f.o.Receiver == nil || len(w.Form["logout_token"]) != 1 {
		return failed
	}
	c, err := f.o.Receiver.Receive(w.Form.Get("logout_token"))
	if err != nil {
		return failed
	}
	if err := f.p.EndAll(ctx, EndedBy(c)); err != nil {
		return failed
	}
	return Answer{Status: http.StatusOK, ContentType: "application/json", Body: []byte("{}")}
}
