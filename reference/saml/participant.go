package saml

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ParticipantOptions make a Participant. The Party, Provider, SignOn and End
// are required.
type ParticipantOptions struct {
	Party
	// Provider is the one identity provider that is believed.
	Provider Peer
	// SignOn are the addresses at which responses arrive by POST.
	SignOn []string
	// End ends the session of here that ref names. It returns nil where it is
	// over already, and an error only where it may still live.
	End func(ctx context.Context, ref string) error
}

// Participant is a system that takes part: the service provider of SAML. It is
// safe for concurrent use. Its own log-out never waits for it: whoever uses it
// ends the session first and then tells.
type Participant struct{ ParticipantOptions }

// NewParticipant checks the options and returns a participant. It starts nothing.
func NewParticipant(o ParticipantOptions) (*Participant, error) {
	var err error
	o.Party, err = o.withDefaults()
	switch {
	case err != nil:
	case len(o.SignOn) == 0 || o.End == nil:
		err = errors.New("SignOn and End are required")
	case o.Provider.Certificate == nil || o.Provider.Entity == "" || len(o.Provider.SignOn) == 0 || o.Provider.Logout[SOAP] == "":
		err = errors.New("the provider's entity ID, certificate, sign-on and SOAP log-out addresses are required")
	}
	if err != nil {
		return nil, fmt.Errorf("make participant %q: %w", o.Entity, err)
	}
	return &Participant{o}, nil
}

// SignIn returns the address at the provider at which a browser signs in. The
// response comes to the address at, one of SignOn, and relay with it.
func (p *Participant) SignIn(at, relay string) (string, error) {
	if !slices.Contains(p.ParticipantOptions.SignOn, at) {
		return "", fmt.Errorf("sign in: %q is no sign-on address of %s", at, p.Entity)
	}
	m, err := p.message(AuthnRequest, p.Provider.SignOn[0])
	if err != nil {
		return "", err
	}
	m.SignOn, m.RelayState = at, relay
	w, err := Seal(m, Redirect, p.Key)
	if err != nil {
		return "", fmt.Errorf("sign in: %w", err)
	}
	p.Memory.Ask(m.ID, p.Now(), m.IssueInstant.Add(signInLife))
	return w.URL, nil
}

// Identity is what a believed assertion says.
type Identity struct {
	NameID, Index string
	// Began is when the person signed in at the provider, Until when the
	// provider's session ends; zero is never.
	Began, Until time.Time
}

// Admit believes a sign-on response, or not: it answers a request of here, is
// for here, in time and new, and no log-out that was received covers it.
func (p *Participant) Admit(w Wire) (Identity, error) {
	m, err := p.Open(w, only(p.Provider))
	if err != nil {
		return Identity{}, fmt.Errorf("admit: %w", err)
	}
	a, now := m.Assertion, p.Now()
	switch {
	case m.Kind != SignOnResponse || w.Binding != Post || m.Status != Success || a == nil:
		err = fmt.Errorf("%w: want a successful sign-on response by POST", ErrMessage)
	case a.Issuer != p.Provider.Entity:
		err = ErrIssuer
	case a.Audience != p.Entity || a.Recipient != m.Destination:
		err = ErrDestination
	case now.Before(a.NotBefore.Add(-skew)) || !now.Before(a.NotOnOrAfter) || a.AuthnInstant.After(now.Add(skew)):
		err = ErrTime
	case !a.SessionNotOnOrAfter.IsZero() && !now.Before(a.SessionNotOnOrAfter):
		err = ErrTime
	case a.InResponseTo == "" || a.InResponseTo != m.InResponseTo:
		err = ErrUnasked
	default:
		if err = p.check(&m, w, p.ParticipantOptions.SignOn...); err == nil && !p.Memory.Asked(m.InResponseTo, now) {
			err = ErrUnasked
		}
		if err == nil && !p.Memory.Once(a.ID, now, a.NotOnOrAfter) {
			err = ErrReplayed
		}
	}
	if err == nil && p.Memory.HasEnded(a.NameID, a.SessionIndex, a.AuthnInstant, now) {
		err = ErrLoggedOut
	}
	if err != nil {
		return Identity{}, fmt.Errorf("admit: %w", err)
	}
	return Identity{a.NameID, a.SessionIndex, a.AuthnInstant, a.SessionNotOnOrAfter}, nil
}

// Enter ties the session that was opened for an identity to the provider's.
// Where a log-out has come in between, the session is ended and the error is
// ErrLoggedOut: either that log-out finds the link, or this finds the log-out.
func (p *Participant) Enter(ctx context.Context, id Identity, ref string) error {
	p.Memory.Link(Link{NameID: id.NameID, Index: id.Index, Ref: ref, Until: id.Until}, p.Now())
	if !p.Memory.HasEnded(id.NameID, id.Index, id.Began, p.Now()) {
		return nil
	}
	p.Memory.Unlink(ref)
	return fmt.Errorf("enter: %w", errors.Join(ErrLoggedOut, p.End(ctx, ref)))
}

// Over reports whether the provider's session behind one of here has ended by
// its own limit: the session of here must not outlive it (Core 2.7.2).
func (p *Participant) Over(ref string) bool {
	l, ok := p.Memory.Linked(ref)
	return ok && !l.Until.IsZero() && !p.Now().Before(l.Until)
}

// SignOut tells the provider on the back channel that the session, which has
// ended here, is to end everywhere. ErrUnknownSession: it is not tied to any
// at the provider, so there is nobody to tell. Any other error means that not
// everybody is known to be out.
func (p *Participant) SignOut(ctx context.Context, ref string, why Reason) error {
	m, err := p.farewell(ref, p.Provider.Logout[SOAP], why)
	if err != nil {
		return err
	}
	return p.ask(ctx, p.Provider, m)
}

// SignOutBy is SignOut on the front channel: it returns what the browser is to
// carry to the provider, which will lead it back with the outcome.
func (p *Participant) SignOutBy(b Binding, ref string, why Reason) (Wire, error) {
	m, err := p.farewell(ref, p.Provider.Logout[b], why)
	if err != nil {
		return Wire{}, err
	}
	p.Memory.Ask(m.ID, p.Now(), m.NotOnOrAfter)
	p.Journal(Record{At: p.Now(), From: p.Entity, To: p.Provider.Entity, Binding: b, Message: m})
	return Seal(m, b, p.Key)
}

func (p *Participant) farewell(ref, to string, why Reason) (Message, error) {
	l, ok := p.Memory.Unlink(ref)
	if !ok {
		return Message{}, ErrUnknownSession
	}
	if to == "" {
		return Message{}, fmt.Errorf("sign out: the provider has no address for this binding")
	}
	return p.request(to, l.NameID, []string{l.Index}, why)
}

// Receive takes a message that arrived at one of the log-out addresses: the
// provider's request, or its response to a log-out that began here on the
// front channel.
func (p *Participant) Receive(ctx context.Context, w Wire) (r Reply, err error) {
	m, err := p.Open(w, only(p.Provider))
	if err == nil {
		err = p.check(&m, w, p.addresses()...)
	}
	defer func() {
		p.Journal(Record{At: p.Now(), From: p.Provider.Entity, To: p.Entity, Binding: w.Binding, Message: m, Err: err})
	}()
	switch {
	case err != nil:
	case m.Kind == LogoutResponse:
		if !p.Memory.Asked(m.InResponseTo, p.Now()) {
			err = ErrUnasked
		}
		r = Reply{Partial: m.Status != Success}
	case m.Kind != LogoutRequest:
		err = fmt.Errorf("%w: a %s at the log-out address", ErrMessage, m.Kind)
	default:
		s := Success
		if p.EndAll(ctx, Ended{m.NameID, m.SessionIndexes, m.IssueInstant, m.lasts()}) != nil {
			s = PartialLogout
		}
		r.Partial = s != Success
		r.Answer, err = p.answer(&m, w.Binding, p.Provider, s)
	}
	if err != nil {
		return Reply{}, fmt.Errorf("receive log-out message: %w", err)
	}
	return r, nil
}

// lasts is how long a request covers assertions to come.
func (m *Message) lasts() time.Time {
	if m.NotOnOrAfter.IsZero() {
		return m.IssueInstant.Add(maxAge)
	}
	return m.NotOnOrAfter
}

// EndAll ends every session of here that a log-out covers, and remembers it
// for those whose assertion is still on its way. It goes on after an error.
// Other protocols than SAML may bring the log-out as well.
func (p *Participant) EndAll(ctx context.Context, e Ended) error {
	p.Memory.End(e, p.Now())
	var failed []error
	for _, l := range p.Memory.Links(e) {
		if err := p.End(ctx, l.Ref); err != nil {
			failed = append(failed, err)
			continue
		}
		p.Memory.Unlink(l.Ref)
	}
	return errors.Join(failed...)
}
