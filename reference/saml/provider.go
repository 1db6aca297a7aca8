package saml

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Member is a participant as the provider knows it.
type Member struct {
	Peer
	// Notify tells it of a log-out in its own way, where that is not SAML's
	// back channel. Nil means a SOAP request to Logout[SOAP].
	Notify func(ctx context.Context, nameID string, indexes []string) error
}

// ProviderOptions make a Provider. The Party, SignOn and Members are required.
type ProviderOptions struct {
	Party
	// SignOn is the address at which sign-on requests arrive by redirect.
	SignOn  string
	Members []Member
	// Lifetime bounds a session from its beginning. Zero means 8 hours.
	Lifetime time.Duration
	// Each calls notify for 0 to n-1 and returns the errors in that order. Nil
	// means all at once, so that nobody waits for a participant that is down.
	Each func(n int, notify func(i int) error) []error
	// Indexes draws the session index that a member gets to know a session by.
	// Nil means 128 random bits, another for each member.
	Indexes func() (string, error)
}

// Provider is the identity provider, the session authority of Core 3.7.3.2: it
// knows who has signed in, and at whom. It is safe for concurrent use, and its
// sessions last as long as the process.
type Provider struct {
	ProviderOptions
	mu       sync.Mutex
	sessions map[string]*session
}

type session struct {
	nameID       string
	began, until time.Time
	at           []part // who takes part, in the order of joining
}

type part struct{ entity, index string }

// NewProvider checks the options and returns a provider. It starts nothing.
func NewProvider(o ProviderOptions) (*Provider, error) {
	var err error
	o.Party, err = o.withDefaults()
	if err == nil && (o.SignOn == "" || len(o.Members) == 0) {
		err = errors.New("SignOn and Members are required")
	}
	if err != nil {
		return nil, fmt.Errorf("make provider %q: %w", o.Entity, err)
	}
	if o.Lifetime == 0 {
		o.Lifetime = 8 * time.Hour
	}
	if o.Each == nil {
		o.Each = atOnce
	}
	if o.Indexes == nil {
		o.Indexes = func() (string, error) { return newID(o.Rand) }
	}
	return &Provider{ProviderOptions: o, sessions: make(map[string]*session)}, nil
}

func atOnce(n int, notify func(int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = notify(i) })
	}
	wg.Wait()
	return errs
}

func (p *Provider) member(entity string) (Member, bool) {
	i := slices.IndexFunc(p.Members, func(m Member) bool { return m.Entity == entity })
	if i < 0 {
		return Member{}, false
	}
	return p.Members[i], true
}

func (p *Provider) known(entity string) (Peer, bool) {
	m, ok := p.member(entity)
	return m.Peer, ok
}

// Begin opens a session for somebody who has authenticated, and returns its
// secret name, for the browser's cookie.
func (p *Provider) Begin(nameID string) (string, error) {
	id, err := newID(p.Rand)
	if err != nil {
		return "", err
	}
	now := p.Now().Truncate(time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[id] = &session{nameID: nameID, began: now, until: now.Add(p.Lifetime)}
	return id, nil
}

// Who returns whose session it is; false where it is none, or over.
func (p *Provider) Who(id string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.alive(id)
	if s == nil {
		return "", false
	}
	return s.nameID, true
}

// alive needs mu.
func (p *Provider) alive(id string) *session {
	s := p.sessions[id]
	if s != nil && !p.Now().Before(s.until) {
		delete(p.sessions, id)
		return nil
	}
	return s
}

// Requested reads a sign-on request. It is not consumed: the person may have
// to give a password before it is answered.
func (p *Provider) Requested(w Wire) (Message, error) {
	m, err := p.Open(w, p.known)
	now := p.Now()
	switch {
	case err != nil:
	case m.Kind != AuthnRequest || w.Binding != Redirect:
		err = fmt.Errorf("%w: want a sign-on request by redirect", ErrMessage)
	case m.Destination != p.SignOn:
		err = ErrDestination
	case m.IssueInstant.After(now.Add(skew)) || now.Sub(m.IssueInstant) > signInLife:
		err = ErrTime
	default:
		// The response goes where the metadata say, and nowhere else.
		if to, _ := p.member(m.Issuer); !slices.Contains(to.SignOn, m.SignOn) {
			err = ErrDestination
		}
	}
	if err != nil {
		return Message{}, fmt.Errorf("read sign-on request: %w", err)
	}
	return m, nil
}

// Respond answers a sign-on request for whoever the session is of, and notes
// that the issuer takes part in it from now on.
func (p *Provider) Respond(id string, request Message) (Wire, error) {
	r, err := p.message(SignOnResponse, request.SignOn)
	if err != nil {
		return Wire{}, err
	}
	assertionID, err := newID(p.Rand)
	if err != nil {
		return Wire{}, err
	}
	index, err := p.Indexes()
	if err != nil {
		return Wire{}, err
	}
	p.mu.Lock()
	s := p.alive(id)
	if s == nil {
		p.mu.Unlock()
		return Wire{}, ErrUnknownSession
	}
	// A participant that asks again in one session gets a new index: its
	// sessions can be told apart, and all are told of the end.
	s.at = append(s.at, part{request.Issuer, index})
	nameID, began, until := s.nameID, s.began, s.until
	p.mu.Unlock()

	end := r.IssueInstant.Add(maxAge)
	r.InResponseTo, r.Status, r.RelayState = request.ID, Success, request.RelayState
	r.Assertion = &Assertion{
		ID: assertionID, Issuer: p.Entity, NameID: nameID, SessionIndex: index, IssueInstant: r.IssueInstant,
		Audience: request.Issuer, Recipient: request.SignOn, InResponseTo: request.ID,
		NotBefore: r.IssueInstant, NotOnOrAfter: end, AuthnInstant: began, SessionNotOnOrAfter: until,
	}
	w, err := Seal(r, Post, p.Key)
	if err != nil {
		return Wire{}, fmt.Errorf("respond to sign-on request: %w", err)
	}
	return w, nil
}

// SessionIndexes are those by which a member knows the subject's sessions,
// oldest first.
func (p *Provider) SessionIndexes(entity, nameID string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*session
	for id, s := range p.sessions {
		if p.alive(id) != nil && s.nameID == nameID {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *session) int { return a.began.Compare(b.began) })
	var indexes []string
	for _, s := range all {
		for _, at := range s.at {
			if at.entity == entity {
				indexes = append(indexes, at.index)
			}
		}
	}
	return indexes
}

// SignOut ends a session here and then everywhere. The error is ErrPartial
// where not everybody has confirmed.
func (p *Provider) SignOut(ctx context.Context, id string, why Reason) error {
	p.mu.Lock()
	s := p.alive(id)
	delete(p.sessions, id)
	p.mu.Unlock()
	if s == nil {
		return ErrUnknownSession
	}
	return p.spread(ctx, []*session{s}, func(part) bool { return false }, why)
}

// Receive takes a participant's request to log out: it ends the sessions that
// it names, or all of the subject's where it names none, and tells everybody
// else who takes part in them (Core 3.7.3.2).
func (p *Provider) Receive(ctx context.Context, w Wire) (r Reply, err error) {
	m, err := p.Open(w, p.known)
	if err == nil {
		err = p.check(&m, w, p.addresses()...)
	}
	defer func() {
		p.Journal(Record{At: p.Now(), From: m.Issuer, To: p.Entity, Binding: w.Binding, Message: m, Err: err})
	}()
	if err == nil && m.Kind != LogoutRequest {
		err = fmt.Errorf("%w: a %s at the log-out address", ErrMessage, m.Kind)
	}
	if err != nil {
		return Reply{}, fmt.Errorf("receive log-out message: %w", err)
	}
	why := m.Reason
	if why == "" {
		why = ByUser
	}
	from, _ := p.known(m.Issuer)
	s := Success
	if p.spread(ctx, p.take(&m), m.names, why) != nil {
		s = PartialLogout
	}
	if r.Answer, err = p.answer(&m, w.Binding, from, s); err != nil {
		return Reply{}, err
	}
	r.Partial = s != Success
	return r, nil
}

// names reports whether a participant's request is about this part of a
// session: one of its own, which it ends itself.
func (m *Message) names(at part) bool {
	return at.entity == m.Issuer && (len(m.SessionIndexes) == 0 || slices.Contains(m.SessionIndexes, at.index))
}

// take ends the sessions that a participant's request names.
func (p *Provider) take(m *Message) []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []*session
	for id, s := range p.sessions {
		if s.nameID == m.NameID && slices.ContainsFunc(s.at, m.names) {
			delete(p.sessions, id)
			taken = append(taken, s)
		}
	}
	return taken
}

// spread tells all who take part in the sessions, save who knows. One that is
// down is one that has not confirmed, and no reason to stop.
func (p *Provider) spread(ctx context.Context, sessions []*session, knows func(part) bool, why Reason) error {
	var nameID string
	var order []string
	indexes := make(map[string][]string)
	for _, s := range sessions {
		nameID = s.nameID
		for _, at := range s.at {
			if knows(at) {
				continue
			}
			if indexes[at.entity] == nil {
				order = append(order, at.entity)
			}
			indexes[at.entity] = append(indexes[at.entity], at.index)
		}
	}
	// Whoever began it may leave: the others are told all the same.
	ctx = context.WithoutCancel(ctx)
	errs := p.Each(len(order), func(i int) error {
		m, ok := p.member(order[i])
		if !ok {
			return ErrIssuer
		}
		return p.notify(ctx, m, nameID, indexes[order[i]], why)
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrPartial, err)
	}
	return nil
}

func (p *Provider) notify(ctx context.Context, m Member, nameID string, indexes []string, why Reason) error {
	if m.Notify != nil {
		ctx, cancel := context.WithTimeout(ctx, p.Timeout)
		defer cancel()
		err := m.Notify(ctx, nameID, indexes)
		p.Journal(Record{At: p.Now(), From: p.Entity, To: m.Entity, Message: Message{
			Kind: LogoutRequest, NameID: nameID, SessionIndexes: indexes, Reason: why,
		}, Err: err})
		return err
	}
	request, err := p.request(m.Logout[SOAP], nameID, indexes, why)
	if err != nil {
		return err
	}
	return p.ask(ctx, m.Peer, request)
}

// Request makes a request to a member to log a subject out, for a binding and
// an index of the caller's choice; none means all sessions.
func (p *Provider) Request(entity string, b Binding, nameID string, indexes []string, why Reason) (Message, error) {
	m, ok := p.member(entity)
	if !ok {
		return Message{}, fmt.Errorf("make log-out request: %w", ErrIssuer)
	}
	return p.request(m.Logout[b], nameID, indexes, why)
}
